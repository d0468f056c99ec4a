"""What is missing or does not fit in the files of the downstream datasets is named, with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

import datasets
from datasets import DatasetError
from tests.datasets.downstream_miniatures import NAMES, PUBLISHED, listing, oxford_pets, unpacked
from tests.datasets.miniature import write_files


@pytest.mark.parametrize(
    ("name", "list_name", "line", "message"),
    [
        ("sun397", "Testing_01.txt", "/a/attic/deep/1.jpg", "'/a/attic/deep' is no class"),
        ("sun397", "Testing_01.txt", "1.jpg", "expected '/<letter>/<category>/<image>'"),
        ("ucf101", "ucfTrainTestlist/testlist01.txt", "Flying/v_1.avi", "'Flying' is no class"),
        ("ucf101", "ucfTrainTestlist/testlist01.txt", "TaiChi/v_1.mp4", "expected '<Action>/<video>.avi'"),
    ],
)
def test_a_list_that_does_not_fit_is_named(tmp_path: Path, name: str, list_name: str, line: str, message: str) -> None:
    PUBLISHED[name](tmp_path)
    write_files(tmp_path, {list_name: line})
    with pytest.raises(DatasetError) as raised:
        listing(name, tmp_path, "test")
    assert message in str(raised.value) and Path(list_name).name in str(raised.value)


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
