"""Splits of the downstream datasets that no class of torchvision lists: seeded holdouts and CoOp's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

import datasets
from datasets import DatasetError
from tests.datasets.downstream_miniatures import PUBLISHED, eurosat, listing
from tests.datasets.miniature import write_files


def test_holdouts_hold_back_thirty_percent_of_each_class_for_ever(tmp_path: Path) -> None:
    for name, keys in (
        ("eurosat", ("SeaLake", "AnnualCrop", "Forest")),
        ("caltech101", ("Faces", "accordion", "yin_yang")),
    ):
        PUBLISHED[name](tmp_path / name)
        train, test = (listing(name, tmp_path / name, split) for split in ("train", "test"))
        assert not set(train) & set(test) and len(train) == 9 and len(test) == 3
        labels = datasets.load(name).labels  # type: ignore[attr-defined]
        assert sorted(label for _, label in test) == sorted(labels[key] for key in keys)
        assert not any("easy" in path or "BACKGROUND" in path or "/." in path for path, _ in train + test)
    expected = [min((f"{name}/{name}_{i}.jpg" for i in range(1, 5)), key=lambda p: hashlib.sha256(f"0/{p}".encode()).digest())
                for name in ("AnnualCrop", "Forest", "SeaLake")]  # fmt: skip
    assert [path for path, _ in listing("eurosat", tmp_path / "eurosat", "test")] == [
        f"2750/{path}" for path in expected
    ]
    info = datasets.load("eurosat").info
    sizes = [3000, 3000, 3000, 2500, 2500, 2000, 2500, 3000, 2500, 3000]
    assert info.counts["eurosat"]["test"] == sum(round(n * 0.3) for n in sizes)


@pytest.mark.parametrize("where", ["", "eurosat/"])
def test_the_split_of_coop_is_read_from_its_file(tmp_path: Path, where: str) -> None:
    eurosat(tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"split_zhou_EuroSAT\.json is missing: get it from https://drive.*; or prepare eu"
    ):
        listing("eurosat@coop", tmp_path, "test")
    split = {"train": [["Forest/Forest_1.jpg", 1, "Forest"]], "val": [["SeaLake/SeaLake_2.jpg", 9, "Sea or Lake"]],
             "test": [["AnnualCrop/AnnualCrop_3.jpg", 0, "Annual Crop Land"]]}  # fmt: skip
    write_files(tmp_path, {f"{where}split_zhou_EuroSAT.json": json.dumps(split)})
    assert listing("eurosat@coop", tmp_path, "train") == [
        ("2750/Forest/Forest_1.jpg", 1),
        ("2750/SeaLake/SeaLake_2.jpg", 9),
    ]
    assert listing("eurosat@coop", tmp_path, "test") == [("2750/AnnualCrop/AnnualCrop_3.jpg", 0)]
    for row, message in (
        (["Forest/Forest_1.jpg", 2, ""], "label 2 does not fit: folder 'Forest' is class 1"),
        (["Forest/Forest_1.jpg", 10, ""], "label 10 is none of 10 classes"),
        (["Wood/1.jpg", 1, ""], "'Wood' is no class of dataset eurosat"),
        (["../Forest/1.jpg", 1, ""], "leads outside"),
    ):
        write_files(tmp_path, {f"{where}split_zhou_EuroSAT.json": json.dumps(split | {"test": [row]})})
        with pytest.raises(DatasetError, match=message):
            listing("eurosat@coop", tmp_path, "test")
    for text, message in (("{}", "key 'test' is missing"), ("[1", "Invalid JSON"), ('{"test": [[1]]}', r"test\.0\.0")):
        write_files(tmp_path, {f"{where}split_zhou_EuroSAT.json": text})
        with pytest.raises(DatasetError, match=message):
            listing("eurosat@coop", tmp_path, "test")


def test_coop_splits_of_the_others(tmp_path: Path) -> None:
    for name, file, row, path in (
        (
            "caltech101",
            "Caltech101",
            ["Faces/image_0002.jpg", 0],
            "caltech-101/101_ObjectCategories/Faces/image_0002.jpg",
        ),
        ("dtd", "DescribableTextures", ["dotted/dotted_0004.jpg", 10], "dtd/images/dotted/dotted_0004.jpg"),
        ("food101", "Food101", ["waffles/9.jpg", 100], "food-101/images/waffles/9.jpg"),
        ("flowers102", "OxfordFlowers", ["image_00003.jpg", 101], "jpg/image_00003.jpg"),
    ):
        PUBLISHED[name](tmp_path / name)
        rows = {"train": [], "val": [], "test": [[*row, "its name"]]}
        write_files(tmp_path / name, {f"split_zhou_{file}.json": json.dumps(rows)})
        assert listing(f"{name}@coop", tmp_path / name, "test") == [(path, row[1])]
