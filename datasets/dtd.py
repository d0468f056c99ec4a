"""`dtd`: Describable Textures, 47 kinds of 120 images; the first of ten official partitions, as in CLIP.

Published: dtd-r1.0.1.tar.gz with dtd/{images,labels,imdb}; lists dtd/labels/{train,val,test}1.txt ('banded/banded_0002.jpg').
`train` here is train and val. Revision `coop` has CoOp's own split (1,692 test images).
"""

from __future__ import annotations

from datasets import DatasetError
from datasets.base import Dataset, Published, PublishedFile
from datasets.downstream import CoopSplit, Downstream, Facts, Listing, coop_list, lines

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
LISTS = {"train": ("labels/train1.txt", "labels/val1.txt"), "test": ("labels/test1.txt",)}
COOP_LIST = coop_list("split_zhou_DescribableTextures.json", "1u3_QfB467jqHgNXC00UIzbLZRQCg2S7x")
FACTS = Facts(
    title="Describable Textures",
    source="https://www.robots.ox.ac.uk/~vgg/data/dtd/",
    license="research only",
    citation="Cimpoi et al.: Describing Textures in the Wild, CVPR 2014, arXiv:1311.3618",
)


class Dtd(Downstream):
    """The first official partition."""

    def listed(self, split: str, files: Published) -> Listing:
        """As `Downstream.listed`."""
        top = self.top(files, LISTS[split][0])
        images = []
        for name in LISTS[split]:
            if not files.exists(top + name):
                raise FileNotFoundError(f"{files.where(top + name)} does not exist; it is part of {FILES[0].name}")
            for place, text in lines(files, top + name):
                folder, slash, _ = text.partition("/")
                if not slash:
                    raise DatasetError(f"{place}: expected '<class>/<image>', got {text!r}")
                images.append((text, self.label(folder, place)))
        return f"{top}images/", images


class CoopDtd(CoopSplit):
    """CoOp's split, over all images."""

    list_name = COOP_LIST.name
    list_tops = ("", "dtd/")


DATASET: Dataset = Dtd("dtd", {"train": 3_760, "test": 1_880}, ("dtd/", "dtd/dtd/", ""), FILES, facts=FACTS)
REVISIONS: dict[str, Dataset] = {
    "official": DATASET,
    "coop": CoopDtd(
        "dtd",
        {"train": 3_948, "test": 1_692},
        ("dtd/images/", "images/", ""),
        (*FILES, COOP_LIST),
        revision="coop",
        facts=FACTS,
    ),
}
