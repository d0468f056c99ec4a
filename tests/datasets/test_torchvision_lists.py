"""The six downstream datasets whose splits torchvision lists: what it makes of the miniatures, how it is asked, bad lists."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets as tv

import datasets
from datasets import DatasetError
from tests.conftest import ROOT
from tests.datasets.downstream_miniatures import PUBLISHED, listing, unpacked, without_checksums
from tests.datasets.miniature import mat, write_files

FOOD, PLANES, KIT = "food-101/images/", "fgvc-aircraft-2013b/data/images/", "stanford_cars/devkit/"
EXPECTED = {
    "dtd": {
        "train": [("dtd/images/banded/banded_0002.jpg", 0), ("dtd/images/zigzagged/zigzagged_0001.jpg", 46),
                  ("dtd/images/dotted/dotted_0004.jpg", 10)],
        "test": [("dtd/images/polka-dotted/polka-dotted_0003.jpg", 30), ("dtd/images/banded/banded_0009.jpg", 0)],
    },
    "fgvc_aircraft": {
        "train": [(f"{PLANES}1025794.jpg", 0), (f"{PLANES}0034309.jpg", 73), (f"{PLANES}1234567.jpg", 71)],
        "test": [(f"{PLANES}0062765.jpg", 37), (f"{PLANES}7654321.jpg", 0)],
    },
    "flowers102": {
        "train": [("jpg/image_00005.jpg", 4), ("jpg/image_00001.jpg", 76), ("jpg/image_00002.jpg", 0),
                  ("jpg/image_00006.jpg", 8)],
        "test": [("jpg/image_00004.jpg", 76), ("jpg/image_00003.jpg", 101)],
    },
    "food101": {
        "train": [(f"{FOOD}apple_pie/1005649.jpg", 0), (f"{FOOD}apple_pie/7.jpg", 0), (f"{FOOD}waffles/9.jpg", 100)],
        "test": [(f"{FOOD}apple_pie/11.jpg", 0), (f"{FOOD}waffles/8.jpg", 100)],
    },
    "oxford_pets": {
        "train": [("images/Abyssinian_100.jpg", 0), ("images/american_bulldog_5.jpg", 1),
                  ("images/yorkshire_terrier_9.jpg", 36)],
        "test": [("images/Siamese_1.jpg", 32), ("images/Abyssinian_201.jpg", 0)],
    },
    "stanford_cars": {
        "train": [("cars_train/00001.jpg", 13), ("cars_train/00002.jpg", 2), ("cars_train/00003.jpg", 195)],
        "test": [("cars_test/00001.jpg", 180), ("cars_test/00002.jpg", 0)],
    },
}  # fmt: skip
"""What the miniatures' builders wrote: paths, and places of the classes in their authors' lists, counted from 0."""
OWN_LAYOUT = {
    "dtd": "dtd/",
    "flowers102": "flowers-102/",
    "oxford_pets": "oxford-iiit-pet/",
    "stanford_cars": "stanford_cars/",
}
"""the folder below its root that torchvision wants around what the archives have, where it wants another"""
READ = {
    ("dtd", "train"): [("DTD", ["dtd/dtd/labels/train1.txt"]), ("DTD", ["dtd/dtd/labels/val1.txt"])],
    ("fgvc_aircraft", "test"): [("FGVCAircraft", ["fgvc-aircraft-2013b/data/images_variant_test.txt",
                                                  "fgvc-aircraft-2013b/data/variants.txt"])],
    ("flowers102", "train"): [("Flowers102", ["flowers-102/imagelabels.mat", "flowers-102/setid.mat"])] * 2,
    ("food101", "test"): [("Food101", ["food-101/meta/test.json"])],
    ("oxford_pets", "train"): [("OxfordIIITPet", ["oxford-iiit-pet/annotations/trainval.txt"])],
    ("stanford_cars", "train"): [("StanfordCars", [f"{KIT}cars_meta.mat", f"{KIT}cars_train_annos.mat"])],
    ("stanford_cars", "test"): [("StanfordCars", ["stanford_cars/cars_test_annos_withlabels.mat", f"{KIT}cars_meta.mat"])],
}  # fmt: skip
"""(dataset, split) -> class of torchvision and the only files that it finds, in order of the calls"""


@pytest.fixture(autouse=True)
def _miniatures_flowers(monkeypatch: pytest.MonkeyPatch) -> None:
    without_checksums(monkeypatch)


@pytest.mark.parametrize("name", EXPECTED)
def test_images_and_labels_are_those_that_the_builders_wrote(tmp_path: Path, name: str) -> None:
    """From archives, from unpacked folders, and from folders as torchvision wants them."""
    PUBLISHED[name](tmp_path / "archives")
    around = OWN_LAYOUT.get(name, "")
    unpacked(name, tmp_path / "archives", tmp_path / "folders")
    unpacked(name, tmp_path / "archives", tmp_path / "own" / around)
    for split, expected in EXPECTED[name].items():
        assert listing(name, tmp_path / "archives", split) == expected
        assert listing(name, tmp_path / "folders", split) == expected
        assert listing(name, tmp_path / "own", split) == [(around + path, label) for path, label in expected]


@pytest.mark.parametrize(("name", "split"), READ)
def test_torchvision_reads_them_and_finds_nothing_but_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, split: str
) -> None:
    PUBLISHED[name](tmp_path / "archives")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    reader = READ[name, split][0][0]
    real, seen = getattr(tv, reader), []

    def watched(root: Path, part: str, **options: object) -> object:
        assert options["download"] is False and root.is_relative_to(temporary)
        seen.append((reader, sorted(str(file.relative_to(root)) for file in root.rglob("*") if file.is_file())))
        return real(root, part, **options)

    monkeypatch.setattr(tv, reader, watched)
    assert listing(name, tmp_path / "archives", split) == EXPECTED[name][split]
    assert seen == READ[name, split] and not list(temporary.iterdir())


def test_the_listing_is_what_torchvision_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PUBLISHED["stanford_cars"](tmp_path)
    monkeypatch.setattr(tv.StanfordCars, "__len__", lambda self: 1)
    monkeypatch.setattr(tv.StanfordCars, "__getitem__", lambda self, n: (self._samples[n + 1][0], np.uint8(7)))
    assert listing("stanford_cars", tmp_path, "test") == [("cars_test/00002.jpg", 7)]


def test_loading_the_datasets_imports_neither_torchvision_nor_torch() -> None:
    script = f"import sys, datasets\nfor name in {list(EXPECTED)}: datasets.load(name)\n"
    script += "print({'torch', 'torchvision'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n"


def cars(*rows: tuple[object, object]) -> bytes:
    """Annotations of (class, file)."""
    kind = [("class", object), ("fname", object)]
    return mat(annotations=np.array([list(rows)], dtype=kind).reshape(1, -1))


def sets(**images: int) -> bytes:
    return mat(
        **{"trnid": [[1, 2]], "valid": [[2, 3]], "tstid": [[3, 4]]} | {key: [[4, n]] for key, n in images.items()}
    )


FLOWERS, CARS, PETS = "setid.mat", "cars_test_annos_withlabels.mat", "annotations/test.txt"
DISHES, TEXTURES = "food-101/meta/test.json", "dtd/labels/test1.txt"
VARIANTS = "fgvc-aircraft-2013b/data/images_variant_test.txt"
BAD: list[tuple[str, str, bytes | str, str]] = [
    ("food101", DISHES, "{", "torchvision's Food101 cannot read it (JSONDecodeError: Expecting property name"),
    ("food101", DISHES, "[]", "torchvision's Food101 cannot read it (AttributeError: "),
    ("food101", DISHES, json.dumps({"pie": ["pie/1"]}), "'pie' is no class of dataset food101"),
    ("food101", DISHES, json.dumps({"waffles": ["apple_pie/11"]}), "'apple_pie/11.jpg' is listed as 'waffles'"),
    ("food101", DISHES, json.dumps({"waffles": ["waffles/../../x"]}), "'waffles/../../x.jpg' leads outside"),
    ("food101", DISHES, json.dumps({"waffles": ["waffles/8"]}), "'apple_pie/11.jpg' is there or in "),
    ("food101", "food-101/meta/test.txt", "waffles/8", "test.txt: image 'apple_pie/11.jpg' is there or in "),
    ("stanford_cars", CARS, "x", "torchvision's StanfordCars cannot read it (MatReadError: "),
    ("stanford_cars", CARS, mat(other=1), "cannot read it (KeyError: 'annotations')"),
    ("stanford_cars", CARS, cars((1, "1.jpg"), (np.array([]), "2.jpg")), "cannot read it (TypeError: "),
    ("stanford_cars", CARS, cars((1, "1.jpg"), (0, "2.jpg")), "image '2.jpg' has no class from 1 to 196"),
    ("stanford_cars", CARS, cars((1, "1.jpg"), (197, "2.jpg")), "image '2.jpg' has no class from 1 to 196"),
    ("stanford_cars", CARS, cars((1, "1.jpg"), (1, "../cars_train/2.jpg")), "'../cars_train/2.jpg' leads outside"),
    ("stanford_cars", "devkit/cars_meta.mat", mat(other=1), "cannot read it (KeyError: 'class_names')"),
    ("oxford_pets", PETS, "Siamese_1 33", "torchvision's OxfordIIITPet cannot read it (ValueError: not enough values"),
    ("oxford_pets", PETS, "Siamese_1 x 1 11", "cannot read it (ValueError: invalid literal for int()"),
    ("oxford_pets", PETS, "Siamese_1 12 1 11", "class 12 does not fit: Siamese_1.jpg is class 33"),
    ("oxford_pets", PETS, "Siamese_1 38 1 11", "image 'Siamese_1.jpg' has no class from 1 to 37"),
    ("oxford_pets", PETS, "Wolf_1 33 1 11", "'wolf' is no class of dataset oxford_pets"),
    ("oxford_pets", PETS, "../Siamese_1 33 1 11", "'../Siamese_1.jpg' leads outside"),
    ("fgvc_aircraft", VARIANTS, "1 Ju 52", "torchvision's FGVCAircraft cannot read it (KeyError: 'Ju 52')"),
    ("fgvc_aircraft", VARIANTS, "1", "cannot read it (ValueError: not enough values to unpack"),
    ("fgvc_aircraft", VARIANTS, b"1 \xff", "cannot read it (UnicodeDecodeError: "),
    ("fgvc_aircraft", VARIANTS, "/etc/1 707-320", "'/etc/1.jpg' leads outside"),
    ("fgvc_aircraft", VARIANTS, "\\1 707-320", r"'\\1.jpg' leads outside"),
    ("dtd", TEXTURES, "banded.jpg", "torchvision's DTD cannot read it (ValueError: not enough values to unpack"),
    ("dtd", TEXTURES, "smooth/1.jpg", "'smooth' is no class of dataset dtd"),
    ("dtd", TEXTURES, "../1.jpg", "'../1.jpg' leads outside"),
    ("flowers102", FLOWERS, "x", "torchvision's Flowers102 cannot read it (MatReadError: "),
    ("flowers102", FLOWERS, mat(trnid=1), "cannot read it (KeyError: 'tstid')"),
    ("flowers102", FLOWERS, sets(tstid=7), "cannot read it (KeyError: 7)"),
    ("flowers102", "imagelabels.mat", mat(labels=[[1, 2, 103, 0]]), "'image_00004.jpg' has no class from 1 to"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "list_name", "content", "message"), BAD, ids=[f"{row[0]}-{number}" for number, row in enumerate(BAD)]
)
def test_a_bad_list_is_one_line_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, list_name: str, content: bytes | str, message: str
) -> None:
    PUBLISHED[name](tmp_path / "published")
    write_files(tmp_path / "published", {list_name: content})
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with pytest.raises(DatasetError) as raised:
        listing(name, tmp_path / "published", "test")
    line = str(raised.value)
    assert message in line and str(tmp_path / "published" / list_name) in line and "\n" not in line
    assert str(temporary) not in line and not list(temporary.iterdir())
    assert "cannot read it" not in line or line.endswith(f"; get it again from {datasets.load(name).info.source}")


def test_aircraft_are_known_by_the_names_of_their_variants(tmp_path: Path) -> None:
    """torchvision's number is the line in variants.txt; ours does not change with it."""
    PUBLISHED["fgvc_aircraft"](tmp_path)
    write_files(tmp_path, {"fgvc-aircraft-2013b/data/variants.txt": "Ju 52\nBAE 146-200\n707-320\n"})
    assert listing("fgvc_aircraft", tmp_path, "test") == EXPECTED["fgvc_aircraft"]["test"]
    write_files(tmp_path, {VARIANTS: "0062765 Ju 52"})
    with pytest.raises(
        DatasetError, match=r"images_variant_test\.txt or .*variants\.txt: 'Ju 52' is no class of dataset"
    ):
        listing("fgvc_aircraft", tmp_path, "test")


def test_lists_of_flowers_that_are_not_the_published_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    PUBLISHED["flowers102"](tmp_path)
    message = (
        r"setid\.mat or .*imagelabels\.mat: torchvision's Flowers102 cannot read it "
        r"\(RuntimeError: Dataset not found or corrupted\); get it again"
    )
    with pytest.raises(DatasetError, match=message):
        listing("flowers102", tmp_path, "test")


@pytest.mark.parametrize(("name", "split"), READ)
def test_a_list_that_is_missing_is_named(tmp_path: Path, name: str, split: str) -> None:
    PUBLISHED[name](tmp_path / "archives")
    unpacked(name, tmp_path / "archives", tmp_path / "own" / OWN_LAYOUT.get(name, ""))
    lists = {file for _, files in READ[name, split] for file in files}
    for file in lists:
        path = tmp_path / "own" / file
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(FileNotFoundError, match=rf"{path.name} does not exist.*dataset {name} is from"):
            listing(name, tmp_path / "own", split)
        path.write_bytes(content)
    assert len(listing(name, tmp_path / "own", split)) == len(EXPECTED[name][split])
