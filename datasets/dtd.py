"""`dtd`: Describable Textures, 47 kinds of 120 images; the first of ten official partitions, as in CLIP.

Published: dtd-r1.0.1.tar.gz with dtd/{images,labels,imdb}; lists dtd/labels/{train,val,test}1.txt ('banded/banded_0002.jpg').
`train` here is train and val. Revision `coop` has CoOp's own split (1,692 test images).
"""

from __future__ import annotations

from datasets.base import Dataset, PublishedFile
from datasets.downstream import CoopSplit
from datasets.torchvision_lists import Portion, TorchvisionLists

# Facts: URL and md5 of torchvision 0.29 datasets/dtd.py, bytes of tensorflow/datasets url_checksums/dtd.txt.
FILES = (
    PublishedFile(
        name="dtd-r1.0.1.tar.gz",
        urls=("https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",),
        bytes=625_239_812,
        checksum="md5:fff73e5086ae6bdbea199a49dfb8a4c1",
        unpacked=("dtd/images", "dtd/labels"),
    ),
)
LISTS = {
    "train": (Portion("train", ("labels/train1.txt",)), Portion("val", ("labels/val1.txt",))),
    "test": (Portion("test", ("labels/test1.txt",)),),
}
OPTIONS = {"partition": 1, "loader": str}


class Dtd(TorchvisionLists):
    """The first official partition."""

    reader, home, by_name = "DTD", "dtd/dtd/", True
    portions, options = LISTS, OPTIONS


_OFFICIAL = Dtd(
    "dtd",
    {"train": 3_760, "test": 1_880},
    ("dtd/", "dtd/dtd/", ""),
    FILES,
    title="Describable Textures",
    source="https://www.robots.ox.ac.uk/~vgg/data/dtd/",
    license="research only",
    citation="Cimpoi et al.: Describing Textures in the Wild, CVPR 2014, arXiv:1311.3618",
)
DATASET: Dataset = _OFFICIAL
REVISIONS: dict[str, Dataset] = {
    "official": DATASET,
    "coop": CoopSplit(
        _OFFICIAL,
        {"train": 3_948, "test": 1_692},
        list_name="split_zhou_DescribableTextures.json",
        drive_id="1u3_QfB467jqHgNXC00UIzbLZRQCg2S7x",
        list_tops=("", "dtd/"),
        tops=("dtd/images/", "images/", ""),
    ),
}
