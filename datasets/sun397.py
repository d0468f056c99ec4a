"""`sun397`: 397 scenes; the first of ten official partitions, 50 training and 50 test images a class, as in CLIP and CoOp.

Published: SUN397.tar.gz (39 GB, SUN397/a/abbey/sun_*.jpg) and Partitions.zip (Training_01.txt, Testing_01.txt with lines
'/a/abbey/sun_aaalbzqrimafwbiv.jpg'). torchvision's class has no partitions: it takes all 108,754 images.
"""

from __future__ import annotations

from datasets import DatasetError
from datasets.base import Dataset, Published, PublishedFile
from datasets.downstream import Downstream, Listing
from datasets.lists import lines

LISTS = {"train": "Training_01.txt", "test": "Testing_01.txt"}
# Facts: URL and md5 of torchvision 0.29 datasets/sun397.py; bytes, and the partitions' sha256, of tensorflow/datasets@5a59a25
# datasets/sun397/checksums.tsv.
FILES = (
    PublishedFile(
        name="SUN397.tar.gz",
        urls=(
            "http://vision.princeton.edu/projects/2010/SUN/SUN397.tar.gz",
            "https://vision.princeton.edu/projects/2010/SUN/SUN397.tar.gz",
        ),
        bytes=39_077_296_924,
        checksum="md5:8ca2778205c41d23104230ba66911c7a",
        unpacked=("SUN397/a",),
    ),
    PublishedFile(
        name="Partitions.zip",
        urls=("https://vision.princeton.edu/projects/2010/SUN/download/Partitions.zip",),
        bytes=18_293_705,
        checksum="sha256:e3311ea5f812d4cc6faef194688343d1111f6cd6f70f2c62f393c2b8d6ba1ec9",
        unpacked=("Training_01.txt", "Testing_01.txt"),
    ),
)


class Sun397(Downstream):
    """The first official partition."""

    def listed(self, split: str, files: Published) -> Listing:
        """As `Downstream.listed`."""
        path = self.top(files, LISTS[split]) + LISTS[split]
        images = []
        for place, text in lines(files, path):
            category, slash, name = text.rpartition("/")
            if not slash or ".." in text:
                raise DatasetError(f"{place}: expected '/<letter>/<category>/<image>', got {text!r}")
            images.append((f"{category[1:]}/{name}", self.label(category, place)))
        folders = ("SUN397/", "sun397/SUN397/")
        return next((f for f in folders if images and files.exists(f + images[0][0])), folders[0]), images


DATASET: Dataset = Sun397(
    "sun397",
    {"train": 19_850, "test": 19_850},
    ("", "Partitions/", "SUN397/", "sun397/"),
    FILES,
    title="SUN397",
    source="https://vision.princeton.edu/projects/2010/SUN/",
    license="none stated; images are from the web, for research",
    citation="Xiao et al.: SUN Database - Large-scale Scene Recognition from Abbey to Zoo, CVPR 2010",
    notes=[
        "Some files named .jpg are PNG, GIF or BMP (tensorflow/datasets, sun397_dataset_builder.py); they are decoded "
        "by their content.",
        "tensorflow/datasets leaves out church/outdoor/sun_bhenjvsvrtumjuri.jpg and track/outdoor/sun_aophkoiosslinihb.jpg "
        "as badly encoded; should they be in partition 1 and not decode, prepare names them.",
        "The list of class names in openai/CLIP has 'jail cell' before 'jail indoor', ClassName.txt the other way round: "
        "names are matched here by category, not by position.",
    ],
)
