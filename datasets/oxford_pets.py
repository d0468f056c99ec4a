"""`oxford_pets`: 37 breeds of cats and dogs; the official split, which CLIP and CoOp evaluate on.

Published: images.tar.gz (images/Abyssinian_1.jpg) and annotations.tar.gz (annotations/{trainval,test}.txt with lines
'Abyssinian_100 1 1 1': image, class, species, breed). Classes are the breeds in alphabetical order without regard to the
capital letter that says cat; the images' names must say the same class as its number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from datasets import DatasetError
from datasets.base import Dataset, PublishedFile
from datasets.torchvision_lists import Portion, TorchvisionLists

_AT = "https://www.robots.ox.ac.uk/~vgg/data/pets/data/"
# Facts: URLs and md5 of torchvision 0.29 datasets/oxford_iiit_pet.py, bytes of tensorflow/datasets url_checksums.
FILES = (
    PublishedFile(
        name="images.tar.gz",
        urls=(f"{_AT}images.tar.gz",),
        bytes=791_918_971,
        checksum="md5:5c4f3ee8e5d25df40f4fd59a7f44e54c",
        unpacked=("images",),
    ),
    PublishedFile(
        name="annotations.tar.gz",
        urls=(f"{_AT}annotations.tar.gz",),
        bytes=19_173_078,
        checksum="md5:95a8c909bbe2e81eed6a22bccdf3f68f",
        unpacked=("annotations",),
    ),
)
LISTS = {
    "train": (Portion("trainval", ("annotations/trainval.txt",)),),
    "test": (Portion("test", ("annotations/test.txt",)),),
}
OPTIONS = {"target_types": "category"}


class OxfordPets(TorchvisionLists):
    """The official split: trainval and test."""

    reader, home = "OxfordIIITPet", "oxford-iiit-pet/"
    portions, options = LISTS, OPTIONS

    def samples(self, opened: Any) -> Iterable[tuple[Any, Any]]:
        """As `TorchvisionLists.samples`. This class of torchvision's has no `loader` (0.29): indexing opens the image."""
        return zip(opened._images, opened._labels, strict=True)

    def to_label(self, path: str, number: int, classes: Sequence[str], place: str) -> int:
        """As `TorchvisionLists.to_label`; name and number of an image must say the same class."""
        label = super().to_label(path, number, classes, place)
        if (named := self.label(path.rpartition("_")[0].lower(), place)) != label:
            raise DatasetError(f"{place}: class {label + 1} does not fit: {path} is class {named + 1}")
        return label


DATASET: Dataset = OxfordPets(
    "oxford_pets",
    {"train": 3_680, "test": 3_669},
    ("", "oxford-iiit-pet/", "oxford_pets/"),
    FILES,
    title="Oxford-IIIT Pets",
    source="https://www.robots.ox.ac.uk/~vgg/data/pets/",
    license="CC BY-SA 4.0",
    citation="Parkhi et al.: Cats and Dogs, CVPR 2012",
    notes=[
        "A few images are damaged or no JPEG behind their name; tensorflow/datasets#5349 leaves such images out, CLIP "
        "and this dataset do not."
    ],
)
