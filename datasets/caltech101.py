"""`caltech101`: photographs and drawings of 100 kinds of objects.

Published: caltech-101.zip, in which is 101_ObjectCategories.tar.gz, read where it lies. There is no official split. The
default revision `holdout` tests on a seeded 30 % of each class; revision `coop` on CoOp's 30 %
(`split_zhou_Caltech101.json`, by hand). Both leave out the folders BACKGROUND_Google, which is no class, and Faces_easy,
crops of the photographs in Faces, as CoOp does; CLIP counts both and evaluates on 6,085 images that were never published.
"""

from __future__ import annotations

from datasets.base import Dataset, PublishedFile
from datasets.downstream import CoopSplit, Holdout
from datasets.lists import class_table

IGNORED = ("BACKGROUND_Google", "Faces_easy")
PARENTS = ("caltech-101/", "", "caltech101/")
TOPS = (*(f"{parent}101_ObjectCategories/" for parent in PARENTS), "")
INNER = "caltech-101/101_ObjectCategories.tar.gz"
# Facts: URL and md5 of torchvision 0.29 datasets/caltech.py; bytes of tensorflow/datasets@46e70c8 caltech101/checksums.tsv.
FILES = (
    PublishedFile(
        name="caltech-101.zip",
        urls=("https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",),
        bytes=137_414_764,
        checksum="md5:3138e1922a9193bfa496528edbbc45d0",
        unpacked=("caltech-101",),
    ),
    PublishedFile(name=INNER, mount="caltech-101", optional=True),
    PublishedFile(name="101_ObjectCategories.tar.gz", optional=True),
)


class Caltech101(Holdout):
    """A seeded 30 % of each class for testing."""

    ignored = frozenset(IGNORED)


_HOLDOUT = Caltech101(
    "caltech101",
    {"train": 5_770, "test": 2_472},
    TOPS,
    FILES,
    table=class_table("caltech101", without=IGNORED),
    revision="holdout",
    title="Caltech-101",
    source="https://data.caltech.edu/records/mzrjq-6wc02",
    license="CC BY 4.0",
    citation="Fei-Fei et al.: Learning Generative Visual Models from Few Training Examples, CVPR workshop 2004",
    notes=[
        "There is no official split: numbers of different splits, CLIP's among them, cannot be compared.",
        "100 classes, as in CoOp: without BACKGROUND_Google and without Faces_easy, crops of the photographs in Faces.",
    ],
)
DATASET: Dataset = _HOLDOUT
# Facts: the 8,242 images that split_zhou_Caltech101.json names are all of these classes; a copy is in
# koking0/split_zhou_Caltech101@621dabe: 4,128 train, 1,649 val, 2,465 test.
REVISIONS: dict[str, Dataset] = {
    "holdout": DATASET,
    "coop": CoopSplit(
        _HOLDOUT,
        {"train": 5_777, "test": 2_465},
        list_name="split_zhou_Caltech101.json",
        drive_id="1hyarUivQE36mY6jSomru6Fjd-JzwcCzN",
        list_tops=("", "caltech-101/"),
        tops=TOPS,
    ),
}
