"""`flowers102`: 102 flowers of the United Kingdom; the official split, as in CLIP: 1,020 train and 1,020 val, 6,149 test.

Published: 102flowers.tgz (jpg/image_00001.jpg), imagelabels.mat (labels from 1 by image) and setid.mat (trnid, valid and
tstid: numbers of images). `train` here is train and val. Revision `coop` has CoOp's own split (2,463 test images).
"""

from __future__ import annotations

from datasets.base import Dataset, PublishedFile
from datasets.downstream import CoopSplit
from datasets.torchvision_lists import Portion, TorchvisionLists

_AT = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
TOPS = ("", "flowers-102/", "oxford_flowers/")
# Facts: URLs and md5 of torchvision 0.29 datasets/flowers102.py, bytes of tensorflow/datasets@24211da url_checksums.
FILES = (
    PublishedFile(
        name="102flowers.tgz",
        urls=(f"{_AT}102flowers.tgz",),
        bytes=344_862_509,
        checksum="md5:52808999861908f626f3c1f4e79d11fa",
        unpacked=("jpg",),
    ),
    PublishedFile(
        name="imagelabels.mat",
        urls=(f"{_AT}imagelabels.mat",),
        bytes=502,
        checksum="md5:e0620be6f572b9609742df49c70aed4d",
    ),
    PublishedFile(
        name="setid.mat", urls=(f"{_AT}setid.mat",), bytes=14_989, checksum="md5:a5357ecc9cb78c4bef273ce3793fc85c"
    ),
)
SPLITS = {"train": ("train", "val"), "test": ("test",)}
LISTS = {
    split: tuple(Portion(part, ("setid.mat", "imagelabels.mat"), "jpg/") for part in parts)
    for split, parts in SPLITS.items()
}


class Flowers102(TorchvisionLists):
    """The official split, whose test set is the largest of its three.

    torchvision compares the md5 of both lists, which are those above, and reads no others. That is welcome: files from a
    folder are not compared with their checksums elsewhere, and lists with trnid for tstid would be another test set.
    """

    reader, home = "Flowers102", "flowers-102/"
    portions = LISTS


_OFFICIAL = Flowers102(
    "flowers102",
    {"train": 2_040, "test": 6_149},
    TOPS,
    FILES,
    title="Oxford Flowers-102",
    source="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
    license="none stated; images are from the web, for research",
    citation="Nilsback and Zisserman: Automated Flower Classification over a Large Number of Classes, ICVGIP 2008",
)
DATASET: Dataset = _OFFICIAL
REVISIONS: dict[str, Dataset] = {
    "official": DATASET,
    "coop": CoopSplit(
        _OFFICIAL,
        {"train": 5_726, "test": 2_463},  # generally known (CoOp, arXiv:2109.01134, appendix); the list was not at hand
        list_name="split_zhou_OxfordFlowers.json",
        drive_id="1Pp0sRXzZFZq15zVOzKjKBu4A9i01nozT",
        list_tops=TOPS,
        tops=[f"{top}jpg/" for top in TOPS],
    ),
}
