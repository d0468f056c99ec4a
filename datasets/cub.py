"""`cub`: CUB-200-2011 for generalised zero-shot learning, by the proposed split of Xian et al.: 150 seen, 50 unseen classes.

In the folder for `--from`:

    CUB_200_2011.tgz       or the folder CUB_200_2011/ with images/<class>/<image>
    xlsa17.zip             or the folder xlsa17/data/CUB/ with att_splits.mat and res101.mat

Domain `seen` has the 7,057 images of `trainval_loc` as train and the 1,764 of `test_seen_loc` as test; domain `unseen` has the
2,967 of `test_unseen_loc` as test and nothing to train on. The locations in att_splits.mat are 1-based positions in the
`image_files` of res101.mat, which are absolute paths on its authors' machine: `.../CUB_200_2011/images/<class>/<image>` (the
script that made it walks CUB_200_2011/CUB_200_2011/images). Labels are the numbers of the class folders, less one.

Not found in the Lipsum-FT paper or anywhere it points to: the prompt template and the form of the class names. Here, names are
the folders' without number and underscores ('001.Black_footed_Albatross' -> 'Black footed Albatross') in the template 'a photo
of a {}, a type of bird.', as CUB's loaders for CLIP have them (perceptionCLIP src/templates/cub200_template.py, MCG-NJU/AWT).
The names are the authors': 'Artic Tern', 'Chuck will Widow' and 'Forsters Tern' stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets import DatasetError
from datasets.base import Dataset, DatasetInfo, Entry, Published, PublishedFile
from datasets.folder import keys_of
from datasets.lists import mat_variables

# Facts: classes.txt of CUB_200_2011.tgz, as in jcroskery/bird-classification@c390644 data/CUB_200_2011/classes.txt.
CLASS_FOLDERS: tuple[str, ...] = tuple(
    (Path(__file__).parent / "classnames" / "cub.txt").read_text(encoding="utf-8").split()
)
CLASSNAMES = tuple(folder.partition(".")[2].replace("_", " ") for folder in CLASS_FOLDERS)
IMAGES = "CUB_200_2011/images"
SPLITS_MAT = "xlsa17/data/CUB/att_splits.mat"
FILES_MAT = "xlsa17/data/CUB/res101.mat"

_LOCATIONS = {
    ("seen", "train"): "trainval_loc",
    ("seen", "test"): "test_seen_loc",
    ("unseen", "test"): "test_unseen_loc",
}


class Cub(Dataset):
    """CUB-200-2011 by the proposed split."""

    info = DatasetInfo(
        name="cub",
        title="CUB-200-2011 (proposed split)",
        revision="proposed-split",
        domains=("seen", "unseen"),
        classnames=CLASSNAMES,
        templates=("a photo of a {}, a type of bird.",),
        source="https://data.caltech.edu/records/65de6-vp158 and http://datasets.d2.mpi-inf.mpg.de/xian/xlsa17.zip",
        license="none found; images are from the web and belong to their authors",
        citation=(
            "Wah et al.: The Caltech-UCSD Birds-200-2011 Dataset, CNS-TR-2011-001; split: Xian et al.: Zero-Shot Learning - "
            "A Comprehensive Evaluation of the Good, the Bad and the Ugly, TPAMI 2018, arXiv:1707.00600"
        ),
        # Generally known sizes of the proposed split; they add up to the dataset's 11,788 images.
        counts={"seen": {"train": 7_057, "test": 1_764}, "unseen": {"test": 2_967}},
        seen_unseen=("seen", "unseen"),
        notes=(
            "The prompt template and the form of class names are our choice: the Lipsum-FT paper does not state them.",
            "unseen has no train split; train on seen and test on both, over all 200 classes.",
        ),
    )
    # Facts: size and sha256 in tensorflow/datasets@333639b url_checksums/caltech_birds2011.txt. xlsa17.zip: none found.
    files = (
        PublishedFile(
            name="CUB_200_2011.tgz",
            urls=("https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz?download=1",),
            bytes=1_150_585_339,
            checksum="sha256:0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
            unpacked=(IMAGES,),
        ),
        PublishedFile(
            name="xlsa17.zip",
            urls=(
                "http://datasets.d2.mpi-inf.mpg.de/xian/xlsa17.zip",
                "https://datasets.d2.mpi-inf.mpg.de/xian/xlsa17.zip",
            ),
            unpacked=(SPLITS_MAT, FILES_MAT),
        ),
    )
    roots = ("CUB_200_2011", "xlsa17")

    def entries(self, domain: str, split: str, source: Published | None) -> Sequence[Entry]:
        """The images of one split in the order of att_splits.mat; a key is '<class folder>-<image>'.

        Raises FileNotFoundError naming what is missing, DatasetError for a .mat file that does not fit.
        """
        if source is None:
            raise FileNotFoundError(
                f"dataset cub needs its published files: give --from FOLDER (from {self.info.source})"
            )
        if (domain, split) not in _LOCATIONS:
            raise DatasetError(f"dataset cub has no {domain}/{split}, only seen/train, seen/test and unseen/test")
        images = _image_files(source)
        wanted = _locations(source, _LOCATIONS[domain, split], len(images))
        below = [images[index] for index in wanted]
        if missing := [path for path in below if not source.exists(f"{IMAGES}/{path}")]:
            raise FileNotFoundError(
                f"{source.where(f'{IMAGES}/{missing[0]}')} does not exist, and {len(missing) - 1} more images that "
                f"{FILES_MAT} names; get CUB_200_2011.tgz from {self.info.source}"
            )
        return [
            Entry(key, CLASS_FOLDERS.index(path.partition("/")[0]), f"{IMAGES}/{path}")
            for key, path in zip(keys_of(below), below, strict=True)
        ]


def _image_files(source: Published) -> list[str]:
    """'<class folder>/<image>' of each of the images that locations count, checked against the labels beside them."""
    cells, labels = mat_variables(source, FILES_MAT, "image_files", "labels")
    found = [str(np.ravel(cell)[0]) for cell in cells]
    paths = []
    for number, (path, label) in enumerate(zip(found, labels, strict=False), start=1):
        folder, _, name = path.replace("\\", "/").rpartition("/images/")[2].partition("/")
        if folder not in CLASS_FOLDERS or not name or "/" in name:
            raise DatasetError(
                f"{source.where(FILES_MAT)}: image_files {number} is {path!r}, expected '.../images/<class>/<image>'"
            )
        if CLASS_FOLDERS[int(label) - 1 : int(label)] != (folder,):
            raise DatasetError(
                f"{source.where(FILES_MAT)}: label {int(label)} of image_files {number} does not fit its folder {folder}"
            )
        paths.append(f"{folder}/{name}")
    if len(found) != len(labels):
        raise DatasetError(f"{source.where(FILES_MAT)}: has {len(found)} image_files but {len(labels)} labels")
    return paths


def _locations(source: Published, variable: str, num_images: int) -> list[int]:
    """0-based positions in the list of images."""
    (locations,) = mat_variables(source, SPLITS_MAT, variable)
    found = [int(number) - 1 for number in locations]
    if bad := [number + 1 for number in found if not 0 <= number < num_images]:
        raise DatasetError(
            f"{source.where(SPLITS_MAT)}: {variable} has {bad[0]}, expected 1 to {num_images}, the images of {FILES_MAT}"
        )
    return found


DATASET: Dataset = Cub()
