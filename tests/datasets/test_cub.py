"""CUB-200-2011 by the proposed split, on a miniature of its archives and MATLAB files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import datasets
from datasets.cub import CLASS_FOLDERS, CLASSNAMES, FILES_MAT, SPLITS_MAT
from datasets.sources import open_source
from orchestrator.manifest.read import load_manifest
from tests.conftest import ROOT
from tests.datasets.miniature import RECIPE, mat, picture, run_miniature, write_files, write_tar, write_zip

SEEN, UNSEEN = (2, 200), (43,)
"""numbers of classes: Laysan Albatross, Common Yellowthroat; Yellow bellied Flycatcher"""
# A quirk of the published res101.mat: its paths begin with a folder on its authors' machine.
AUTHORS_FOLDER = "/BS/Deep_Fragments/work/MSc/CUB_200_2011/CUB_200_2011/images"
COUNTS = {"seen": {"train": 8, "test": 2}, "unseen": {"test": 5}}


def paths() -> list[str]:
    """The images in the order of res101.mat: by class, five of each, of which no split has all."""
    return [
        f"{CLASS_FOLDERS[number - 1]}/{CLASS_FOLDERS[number - 1][4:]}_{index:04d}_{number * 10 + index}.jpg"
        for number in sorted((*SEEN, *UNSEEN))
        for index in range(5)
    ]


def column(numbers: list[int]) -> np.ndarray:
    return np.array(numbers, dtype=float).reshape(-1, 1)


def mat_files(**changes: object) -> dict[str, bytes]:
    """The two MATLAB files: 1-based locations, absolute paths in cells, labels from 1, columns of doubles."""
    cells = np.empty((len(paths()), 1), dtype=object)
    cells[:, 0] = [f"{AUTHORS_FOLDER}/{path}" for path in paths()]
    labels = column([int(path[:3]) for path in paths()])
    splits = {
        "trainval_loc": column([4, 1, 2, 3, 11, 12, 13, 14]),
        "test_seen_loc": column([5, 15]),
        "test_unseen_loc": column([6, 7, 8, 9, 10]),
    }
    features = {"image_files": cells, "labels": labels, "features": np.zeros((4, len(paths())))}
    return {SPLITS_MAT: mat(**splits | changes), FILES_MAT: mat(**features)}


def published(folder: Path) -> Path:
    images = {f"CUB_200_2011/images/{path}": picture(number) for number, path in enumerate(paths())}
    beside = {
        "attributes.txt": "1 has_bill_shape::curved_(up_or_down)\n",
        "CUB_200_2011/classes.txt": "".join(f"{n} {name}\n" for n, name in enumerate(CLASS_FOLDERS, start=1)),
    }
    write_tar(folder / "CUB_200_2011.tgz", beside | images, prefix="./")
    write_zip(folder / "xlsa17.zip", {**mat_files(), "xlsa17/data/CUB/allclasses.txt": "\n".join(CLASS_FOLDERS)})
    return folder


def test_names_are_those_of_the_folders_without_number_and_underscores():
    assert len(CLASSNAMES) == len(set(CLASSNAMES)) == 200
    assert [folder[:4] for folder in CLASS_FOLDERS] == [f"{number:03d}." for number in range(1, 201)]
    assert (CLASSNAMES[0], CLASSNAMES[22], CLASSNAMES[199]) == (
        "Black footed Albatross",
        "Brandt Cormorant",
        "Common Yellowthroat",
    )
    info = datasets.load("cub").info
    assert sum(sum(splits.values()) for splits in info.counts.values()) == 11_788
    assert info.seen_unseen == ("seen", "unseen") and "train" not in info.counts["unseen"]
    assert any("template" in note and "our choice" in note for note in info.notes)


def test_the_archives_run_from_the_tgz_to_the_page(tmp_path, tiny_config, monkeypatch):
    monkeypatch.setenv("ROBUST_FT_BENCH_CACHE", str(tmp_path / "cache"))
    source = published(tmp_path / "source")
    shipped = load_manifest(ROOT / "benchmarks.yaml").benchmarks["cub"]
    frozen = {"recipe": {**RECIPE, "freeze_head": True}, "methods": {use.key: {} for use in shipped.methods}}
    ran = run_miniature("cub", source, COUNTS, tmp_path, tiny_config, monkeypatch, sources=["seen"], benchmark=frozen)
    # 1-based locations in the order of the list; labels are those of the folders, less one.
    assert list(ran.labels("seen", "train").items()) == [
        (path.replace("/", "-").replace(".jpg", "").replace(".", "_"), int(path[:3]) - 1)
        for path in (paths()[index - 1] for index in (4, 1, 2, 3, 11, 12, 13, 14))
    ]
    assert set(ran.labels("seen", "test").values()) == {1, 199}
    assert set(ran.labels("unseen", "test").values()) == {42}
    tested = {(row["domain"], row["num_images"]) for row in ran.rows if row["split"] == "test"}
    assert tested >= {("seen", "2"), ("unseen", "5")}
    assert "generalised zero-shot by class, %" in ran.page, "S, U and H"
    assert {record.spec.method for record in ran.records} >= {"zero_shot", "ft", "car_ft", "lipsum_ft"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (mat_files(trainval_loc=column([16])), r"trainval_loc has 16, expected 1 to 15"),
        (mat_files(trainval_loc=column([0])), r"trainval_loc has 0, expected 1 to 15"),
        (
            {FILES_MAT: mat(image_files=np.zeros((1, 1)), labels=column([1]))},
            r"image_files 1 is .*expected '\.\.\./images/",
        ),
        ({FILES_MAT: mat(labels=column([1]))}, "has no variable 'image_files'"),
        ({FILES_MAT: b"no MATLAB file"}, "no whole MATLAB file"),
    ],
)
def test_a_mat_file_that_does_not_fit_is_named(tmp_path, files, message):
    write_files(tmp_path, mat_files() | files)
    with pytest.raises(datasets.DatasetError, match=message):
        dataset = datasets.load("cub")
        dataset.entries("seen", "train", open_source(tmp_path, dataset.files, dataset.roots))


def test_a_label_that_contradicts_its_folder_is_refused(tmp_path):
    cells = np.empty((1, 1), dtype=object)
    cells[0, 0] = f"{AUTHORS_FOLDER}/{paths()[0]}"
    write_files(tmp_path, mat_files() | {FILES_MAT: mat(image_files=cells, labels=column([7]))})
    dataset = datasets.load("cub")
    with pytest.raises(datasets.DatasetError, match=r"label 7 of image_files 1 does not fit its folder 002\.Laysan"):
        dataset.entries("seen", "train", open_source(tmp_path, dataset.files, dataset.roots))


def test_missing_files_are_named_with_where_to_get_them(tmp_path):
    dataset = datasets.load("cub")
    with pytest.raises(FileNotFoundError, match=r"xlsa17\.zip.*datasets\.d2\.mpi-inf\.mpg\.de/xian/xlsa17\.zip"):
        dataset.entries("seen", "train", open_source(tmp_path, dataset.files, dataset.roots))
    write_files(tmp_path, mat_files())
    with pytest.raises(FileNotFoundError, match=r"images/002\.Laysan_Albatross.*7 more images.*CUB_200_2011\.tgz"):
        dataset.entries("seen", "train", open_source(tmp_path, dataset.files, dataset.roots))
    with pytest.raises(datasets.DatasetError, match="no unseen/train, only seen/train"):
        dataset.entries("unseen", "train", open_source(tmp_path, dataset.files, dataset.roots))
