"""`oxford_pets`: 37 breeds of cats and dogs; the official split, which CLIP and CoOp evaluate on.

Published: images.tar.gz (images/Abyssinian_1.jpg) and annotations.tar.gz (annotations/{trainval,test}.txt with lines
'Abyssinian_100 1 1 1': image, class, species, breed). Classes are taken from the names of the images, whose capital
letter says cat; labels follow the breeds in alphabetical order without regard to it.
"""

from __future__ import annotations

from datasets import DatasetError
from datasets.base import Dataset, Published, PublishedFile
from datasets.downstream import Downstream, Listing
from datasets.lists import lines, words_of

_AT = "https://www.robots.ox.ac.uk/~vgg/data/pets/data/"
LISTS = {"train": "annotations/trainval.txt", "test": "annotations/test.txt"}
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


class OxfordPets(Downstream):
    """The official split: trainval and test."""

    def listed(self, split: str, files: Published) -> Listing:
        """As `Downstream.listed`."""
        top = self.top(files, LISTS[split])
        images = []
        for place, text in lines(files, top + LISTS[split]):
            if text.startswith("#"):
                continue
            name, number, *_ = words_of(text, 2, place, "<image> <class> <species> <breed>")
            label = self.label(name.rpartition("_")[0].lower(), place)
            if number != str(label + 1):
                raise DatasetError(f"{place}: class {number} does not fit: {name} is class {label + 1}")
            images.append((f"{name}.jpg", label))
        return f"{top}images/", images


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
