"""`stanford_cars`: 196 models of cars by make, model and year; the official split, which CLIP and CoOp evaluate on.

Published: cars_train.tgz, cars_test.tgz, car_devkit.tgz (folder devkit) and cars_test_annos_withlabels.mat; labels are in
MATLAB files, read with scipy. The authors' server is gone (torchvision 0.29 says so too): copies keep these names.
"""

from __future__ import annotations

from datasets import DatasetError
from datasets.base import Dataset, Published, PublishedFile
from datasets.downstream import Downstream, Listing
from datasets.lists import mat_variables

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
LISTS = {"train": "devkit/cars_train_annos.mat", "test": "cars_test_annos_withlabels.mat"}


class StanfordCars(Downstream):
    """The official split; labels count from 1 in the authors' files, from 0 here."""

    def listed(self, split: str, files: Published) -> Listing:
        """As `Downstream.listed`."""
        top = self.top(files, LISTS[split])
        path = top + LISTS[split]
        (rows,), images = mat_variables(files, path, "annotations"), []
        if not {"fname", "class"} <= set(rows.dtype.names or ()):
            raise DatasetError(f"{files.where(path)}: annotations have no fields 'fname' and 'class'")
        for number, row in enumerate(rows, start=1):
            try:
                name, label = str(row["fname"].item()), int(row["class"].item())
            except (ValueError, TypeError, AttributeError) as error:
                raise DatasetError(
                    f"{files.where(path)}: annotation {number} is no file with a class: {error}"
                ) from None
            if not 1 <= label <= len(self.labels) or "/" in name:
                raise DatasetError(f"{files.where(path)}: annotation {number} has file {name!r} and class {label}")
            images.append((f"cars_{split}/{name}", label - 1))  # both folders count from 00001.jpg
        return top, images


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
