"""`stanford_cars`: 196 models of cars by make, model and year; the official split, which CLIP and CoOp evaluate on.

Published: cars_train.tgz, cars_test.tgz, car_devkit.tgz (folder devkit) and cars_test_annos_withlabels.mat. torchvision
reads the labels from the MATLAB files, names of classes (devkit/cars_meta.mat) too, although nothing here uses those. The
authors' server is gone (torchvision 0.29 says so): copies keep these names.
"""

from __future__ import annotations

from datasets.base import Dataset, Published, PublishedFile
from datasets.downstream import Listing
from datasets.torchvision_lists import Portion, TorchvisionLists

_AT = "http://ai.stanford.edu/~jkrause/car196/"
# Facts: URLs, bytes and sha256 of tensorflow/datasets@31f1255 url_checksums/cars196.txt.
FILES = (
    PublishedFile(
        name="cars_train.tgz",
        urls=(f"{_AT}cars_train.tgz",),
        bytes=979_269_282,
        checksum="sha256:512b227b30e2f0a8aab9e09485786ab4479582073a144998da74d64b801fd288",
        unpacked=("cars_train",),
    ),
    PublishedFile(
        name="cars_test.tgz",
        urls=(f"{_AT}cars_test.tgz",),
        bytes=977_350_468,
        checksum="sha256:bffea656d6f425cba3c91c6d83336e4c5f86c6cffd8975b0f375d3a10da8e243",
        unpacked=("cars_test",),
    ),
    PublishedFile(
        name="car_devkit.tgz",
        urls=("https://ai.stanford.edu/~jkrause/cars/car_devkit.tgz",),
        bytes=330_960,
        checksum="sha256:b97deb463af7d58b6bfaa18b2a4de9829f0f79e8ce663dfa9261bf7810e9accd",
        unpacked=("devkit",),
    ),
    PublishedFile(
        name="cars_test_annos_withlabels.mat",
        urls=(f"{_AT}cars_test_annos_withlabels.mat",),
        bytes=185_758,
        checksum="sha256:790f75be8ea34eeded134cc559332baf23e30e91367e9ddca97d26ed9b895f05",
    ),
)
NAMES = "devkit/cars_meta.mat"
LISTS = {
    "train": (Portion("train", ("devkit/cars_train_annos.mat", NAMES), "cars_train/"),),
    "test": (Portion("test", ("cars_test_annos_withlabels.mat", NAMES), "cars_test/"),),
}


class StanfordCars(TorchvisionLists):
    """The official split; labels count from 1 in the authors' files, from 0 in torchvision and here."""

    reader, home = "StanfordCars", "stanford_cars/"
    portions = LISTS

    def listed(self, split: str, files: Published) -> Listing:
        """As `Downstream.listed`; paths begin with the folder, since both folders count from 00001.jpg."""
        folder, images = super().listed(split, files)
        inner = self.portions[split][0].images
        return folder.removesuffix(inner), [(inner + path, label) for path, label in images]


DATASET: Dataset = StanfordCars(
    "stanford_cars",
    {"train": 8_144, "test": 8_041},
    ("", "stanford_cars/"),
    FILES,
    title="Stanford Cars",
    source="https://ai.stanford.edu/~jkrause/cars/car_dataset.html (no longer online; copies keep its file names)",
    license="none stated; images are from the web, for research",
    citation="Krause et al.: 3D Object Representations for Fine-Grained Categorization, 3dRR workshop at ICCV 2013",
    notes=["The authors' server is gone: get the four files from a copy and compare their checksums."],
)
