"""`food101`: 101 kinds of dishes, 750 training and 250 test images each, at most 512 pixels wide or high.

Published: food-101.tar.gz with food-101/{images,meta}. Lists meta/{train,test}.json (images by class, which torchvision
reads) and .txt ('apple_pie/1005649') have the official split, which CLIP evaluates on; revision `coop` has CoOp's own
(30,300 test images over all of them).
"""

from __future__ import annotations

from collections.abc import Sequence

from datasets import DatasetError
from datasets.base import SPLITS, Dataset, Published, PublishedFile
from datasets.downstream import CoopSplit, Listing
from datasets.lists import lines
from datasets.torchvision_lists import Portion, TorchvisionLists

# Facts: URL and md5 of torchvision 0.29 datasets/food101.py, bytes of tensorflow/datasets url_checksums/food101.txt.
FILES = (
    PublishedFile(
        name="food-101.tar.gz",
        urls=("http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",),
        bytes=4_996_278_331,
        checksum="md5:85eeb15f3717b99a5da872d97d918f87",
        unpacked=("food-101/images", "food-101/meta"),
    ),
)
LISTS = {split: (Portion(split, (f"meta/{split}.json",)),) for split in SPLITS}


class Food101(TorchvisionLists):
    """The official split, in the order of the .txt lists: the .json ones have the classes in no order."""

    reader, home, by_name = "Food101", "food-101/", True
    portions = LISTS

    def listed(self, split: str, files: Published) -> Listing:
        """As `Downstream.listed`. Raises DatasetError if the two lists have not the same images."""
        name = f"meta/{split}.txt"
        ordered = self.top(files, name) + name
        position = {f"{text}.jpg": number for number, (_, text) in enumerate(lines(files, ordered))}
        folder, images = super().listed(split, files)
        if odd := sorted(position.keys() ^ {path for path, _ in images}):
            other = files.where(ordered.removesuffix(".txt") + ".json")
            raise DatasetError(f"{files.where(ordered)}: image {odd[0]!r} is there or in {other}, but not in both")
        return folder, sorted(images, key=lambda image: position[image[0]])

    def to_label(self, path: str, number: int, classes: Sequence[str], place: str) -> int:
        """As `TorchvisionLists.to_label`; an image must lie in the folder of its class."""
        if path.partition("/")[0] != classes[number]:
            raise DatasetError(f"{place}: image {path!r} is listed as {classes[number]!r}")
        return super().to_label(path, number, classes, place)


_OFFICIAL = Food101(
    "food101",
    {"train": 75_750, "test": 25_250},
    ("food-101/", ""),
    FILES,
    title="Food-101",
    source="https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
    license="images are from Foodspotting and not the authors'; scientific fair use only",
    citation="Bossard et al.: Food-101 - Mining Discriminative Components with Random Forests, ECCV 2014",
    notes=[
        "Training images were not cleaned on purpose: some have wrong labels or intense colours; test images were reviewed."
    ],
)
DATASET: Dataset = _OFFICIAL
REVISIONS: dict[str, Dataset] = {
    "official": DATASET,
    "coop": CoopSplit(
        _OFFICIAL,
        {"train": 70_700, "test": 30_300},
        list_name="split_zhou_Food101.json",
        drive_id="1QK0tGi096I0Ba6kggatX1ee6dJFIcEJl",
        list_tops=("", "food-101/"),
        tops=("food-101/images/", "images/", ""),
        notes=["CoOp's test split mixes official training images, uncleaned, with official test images."],
    ),
}
