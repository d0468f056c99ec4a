"""What is missing or does not fit in the files of the downstream datasets is named, with what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import datasets
from datasets import DatasetError
from tests.datasets.downstream_miniatures import (
    NAMES,
    PUBLISHED,
    flowers102,
    listing,
    oxford_pets,
    stanford_cars,
    unpacked,
)
from tests.datasets.miniature import mat, write_files


@pytest.mark.parametrize(
    ("name", "list_name", "line", "message"),
    [
        ("food101", "food-101/meta/test.txt", "pie/1", "test.txt:1: 'pie' is no class of dataset food101"),
        ("food101", "food-101/meta/test.txt", "pie", "expected '<class>/<image>', got 'pie'"),
        ("oxford_pets", "annotations/test.txt", "Siamese_1 12 1 1", "class 12 does not fit: Siamese_1 is class 33"),
        ("oxford_pets", "annotations/test.txt", "Siamese_1", "expected '<image> <class> <species> <breed>'"),
        ("fgvc_aircraft", "fgvc-aircraft-2013b/data/images_variant_test.txt", "1 Ju 52", "'Ju 52' is no class"),
        ("fgvc_aircraft", "fgvc-aircraft-2013b/data/images_variant_test.txt", "1", "expected '<image> <variant>'"),
        ("dtd", "dtd/labels/test1.txt", "smooth/1.jpg", "'smooth' is no class"),
        ("sun397", "Testing_01.txt", "/a/attic/deep/1.jpg", "'/a/attic/deep' is no class"),
        ("sun397", "Testing_01.txt", "1.jpg", "expected '/<letter>/<category>/<image>'"),
        ("ucf101", "ucfTrainTestlist/testlist01.txt", "Flying/v_1.avi", "'Flying' is no class"),
        ("ucf101", "ucfTrainTestlist/testlist01.txt", "TaiChi/v_1.mp4", "expected '<Action>/<video>.avi'"),
        ("stanford_cars", "cars_test_annos_withlabels.mat", "x", "no whole MATLAB file"),
        ("flowers102", "setid.mat", "x", "no whole MATLAB file"),
    ],
)
def test_a_list_that_does_not_fit_is_named(tmp_path: Path, name: str, list_name: str, line: str, message: str) -> None:
    PUBLISHED[name](tmp_path)
    write_files(tmp_path, {list_name: line})
    with pytest.raises(DatasetError) as raised:
        listing(name, tmp_path, "test")
    assert message in str(raised.value) and Path(list_name).name in str(raised.value)


def test_matlab_files_with_other_content_are_refused(tmp_path: Path) -> None:
    stanford_cars(tmp_path / "cars")
    write_files(tmp_path / "cars", {"cars_test_annos_withlabels.mat": mat(other=1)})
    with pytest.raises(DatasetError, match="has no variable 'annotations'; it has other"):
        listing("stanford_cars", tmp_path / "cars", "test")
    rows = np.array([(np.uint8([[0]]), "00001.jpg")], dtype=[("class", object), ("fname", object)]).reshape(1, 1)
    write_files(tmp_path / "cars", {"cars_test_annos_withlabels.mat": mat(annotations=rows)})
    with pytest.raises(DatasetError, match=r"annotation 1 has file '00001\.jpg' and class 0"):
        listing("stanford_cars", tmp_path / "cars", "test")
    rows = np.array(
        [
            (np.uint8([[1]]), np.array([])),
        ],
        dtype=[("class", object), ("fname", object)],
    ).reshape(1, 1)
    write_files(tmp_path / "cars", {"cars_test_annos_withlabels.mat": mat(annotations=rows)})
    with pytest.raises(DatasetError, match=r"withlabels\.mat: annotation 1 is no file with a class: "):
        listing("stanford_cars", tmp_path / "cars", "test")
    flowers102(tmp_path / "flowers")
    write_files(tmp_path / "flowers", {"setid.mat": mat(trnid=[[1]], valid=[[2]], tstid=[[7]])})
    with pytest.raises(DatasetError, match=r"tstid names image 7, which has no label from 1 to 102"):
        listing("flowers102", tmp_path / "flowers", "test")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_missing_is_named_with_where_to_get_it(tmp_path: Path, name: str) -> None:
    dataset = datasets.load(name)
    tmp_path.joinpath("empty").mkdir()
    with pytest.raises(FileNotFoundError) as raised:
        listing(name, tmp_path / "empty", "train")
    assert dataset.info.source in str(raised.value)
    with pytest.raises(FileNotFoundError, match=f"dataset {name} needs its published files: give --from"):
        dataset.entries(name, "train", None)


def test_missing_images_are_counted_and_the_archive_is_named(tmp_path: Path) -> None:
    oxford_pets(tmp_path)
    (tmp_path / "images.tar.gz").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"2 of 2 images of oxford_pets/test do not exist; .*images\.tar\.gz is missing: get it"
    ):
        listing("oxford_pets", tmp_path, "test")


def test_a_list_that_is_missing_beside_others_is_named(tmp_path: Path) -> None:
    PUBLISHED["dtd"](tmp_path / "published")
    folder = unpacked("dtd", tmp_path / "published", tmp_path / "by_hand")
    (folder / "dtd/labels/val1.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"dtd/labels/val1\.txt does not exist"):
        listing("dtd", folder, "train")
