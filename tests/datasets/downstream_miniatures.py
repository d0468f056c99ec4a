"""Miniatures of the archives of the ten downstream datasets: published names, layout and quirks, a handful of tiny images.

`PUBLISHED[name](folder)` writes one and returns its images by split.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets as tv

import datasets
from datasets.lists import class_table
from datasets.sources import open_source
from tests.datasets.miniature import mat, picture, tar_bytes, write_files, write_tar, write_zip

Content = dict[str, bytes | str]


def images(names: Sequence[str]) -> Content:
    return {name: picture(number) for number, name in enumerate(names)}


def food101(folder: Path) -> dict[str, int]:
    """Lists as text are sorted, those as JSON have the classes in another order."""
    lists = {"train": ["apple_pie/1005649", "apple_pie/7", "waffles/9"], "test": ["apple_pie/11", "waffles/8"]}
    top = "food-101/"
    content = images([f"{top}images/{name}.jpg" for names in lists.values() for name in names])
    for split, names in lists.items():
        by_class: dict[str, list[str]] = {}
        for name in sorted(names, key=lambda name: name.split("/")[0], reverse=True):
            by_class.setdefault(name.split("/")[0], []).append(name)
        content |= {f"{top}meta/{split}.txt": "\n".join(names), f"{top}meta/{split}.json": json.dumps(by_class)}
    write_tar(folder / "food-101.tar.gz", content)
    return {"train": 3, "test": 2}


def stanford_cars(folder: Path) -> dict[str, int]:
    fields = [("bbox_x1", object), ("class", object), ("fname", object)]

    def annotations(labels: list[int]) -> bytes:
        rows = [(np.uint8([[1]]), np.uint8([[label]]), f"{i:05d}.jpg") for i, label in enumerate(labels, start=1)]
        return mat(annotations=np.array([rows], dtype=fields).reshape(1, -1))

    names = np.array(list(class_table("stanford_cars")), dtype=object).reshape(1, -1)
    write_tar(
        folder / "cars_train.tgz", images(["cars_train/00001.jpg", "cars_train/00002.jpg", "cars_train/00003.jpg"])
    )
    write_tar(folder / "cars_test.tgz", images(["cars_test/00001.jpg", "cars_test/00002.jpg"]))
    kit: Content = {
        "devkit/cars_train_annos.mat": annotations([14, 3, 196]),
        "devkit/cars_meta.mat": mat(class_names=names),
    }
    write_tar(folder / "car_devkit.tgz", kit)
    write_files(folder, {"cars_test_annos_withlabels.mat": annotations([181, 1])})
    return {"train": 3, "test": 2}


def oxford_pets(folder: Path) -> dict[str, int]:
    """Cats have capital letters; the folders hold MATLAB files and hidden copies too."""
    lists = {"trainval": ["Abyssinian_100 1 1 1", "american_bulldog_5 2 2 1", "yorkshire_terrier_9 37 2 25"],
             "test": ["Siamese_1 33 1 11", "Abyssinian_201 1 1 1"]}  # fmt: skip
    names = [line.split()[0] for rows in lists.values() for line in rows]
    extra: Content = {"images/Abyssinian_100.mat": b"x", "images/._Abyssinian_1.jpg": b"x"}
    write_tar(folder / "images.tar.gz", images([f"images/{name}.jpg" for name in names]) | extra, prefix="./")
    texts: Content = {f"annotations/{split}.txt": "\n".join(rows) + "\n" for split, rows in lists.items()}
    write_tar(folder / "annotations.tar.gz", texts | {"annotations/list.txt": "#Image CLASS-ID\n"}, prefix="./")
    return {"train": 3, "test": 2}


def fgvc_aircraft(folder: Path) -> dict[str, int]:
    lists = {"trainval": ["1025794 707-320", "0034309 F/A-18", "1234567 Eurofighter Typhoon"],
             "test": ["0062765 BAE 146-200", "7654321 707-320"]}  # fmt: skip
    top = "fgvc-aircraft-2013b/data/"
    content = images([f"{top}images/{line.split()[0]}.jpg" for rows in lists.values() for line in rows])
    content |= {f"{top}images_variant_{split}.txt": "\n".join(rows) + "\n" for split, rows in lists.items()}
    content[f"{top}variants.txt"] = "\n".join(class_table("fgvc_aircraft")) + "\n"
    write_tar(folder / "fgvc-aircraft-2013b.tar.gz", content)
    return {"train": 3, "test": 2}


def dtd(folder: Path) -> dict[str, int]:
    lists = {"train": ["banded/banded_0002.jpg", "zigzagged/zigzagged_0001.jpg"], "val": ["dotted/dotted_0004.jpg"],
             "test": ["polka-dotted/polka-dotted_0003.jpg", "banded/banded_0009.jpg"]}  # fmt: skip
    content = images([f"dtd/images/{name}" for names in lists.values() for name in names])
    for split, names in lists.items():
        for partition in (1, 2):
            content[f"dtd/labels/{split}{partition}.txt"] = "\n".join(names[: 3 - partition]) + "\n"
    write_tar(folder / "dtd-r1.0.1.tar.gz", content)
    return {"train": 3, "test": 2}


def flowers102(folder: Path) -> dict[str, int]:
    write_tar(folder / "102flowers.tgz", images([f"jpg/image_{number:05d}.jpg" for number in range(1, 7)]))
    labels = mat(labels=np.uint8([[77, 1, 102, 77, 5, 9]]))
    sets = mat(trnid=np.uint16([[5, 1]]), valid=np.uint16([[2, 6]]), tstid=np.uint16([[4, 3]]))
    write_files(folder, {"imagelabels.mat": labels, "setid.mat": sets})
    return {"train": 4, "test": 2}


def sun397(folder: Path) -> dict[str, int]:
    """Some images are PNG or GIF behind their name; the archive has images of no partition."""
    lists = {"Training_01.txt": ["/a/abbey/sun_1.jpg", "/j/jail/indoor/sun_2.jpg", "/y/youth_hostel/sun_3.jpg"],
             "Testing_01.txt": ["/j/jail_cell/sun_4.jpg", "/a/abbey/sun_5.jpg"]}  # fmt: skip
    content = images([f"SUN397{name}" for names in lists.values() for name in names])
    content["SUN397/a/abbey/sun_5.jpg"] = picture(5, form="GIF")
    content["SUN397/a/abbey/sun_1.jpg"] = picture(1, form="PNG")
    content |= {"SUN397/a/abbey/sun_6.jpg": picture(6), "SUN397/README.txt": "x"}
    names: Content = {"ClassName.txt": "\n".join(class_table("sun397")) + "\n"}
    write_tar(folder / "SUN397.tar.gz", content | {f"SUN397/{name}": text for name, text in names.items()})
    texts: Content = {name: "\r\n".join(rows) + "\r\n" for name, rows in lists.items()}
    write_zip(folder / "Partitions.zip", {**texts, **names, "Training_02.txt": "/a/abbey/sun_6.jpg\n"})
    return {"train": 3, "test": 2}


def eurosat(folder: Path) -> dict[str, int]:
    names = [f"2750/{name}/{name}_{i}.jpg" for name in ("SeaLake", "AnnualCrop", "Forest") for i in range(1, 5)]
    write_zip(folder / "EuroSAT.zip", images(names))
    return {"train": 9, "test": 3}


def caltech101(folder: Path) -> dict[str, int]:
    """An archive in an archive; a folder that is no class, with a file that is no image; crops; hidden copies."""
    names = [
        f"101_ObjectCategories/{name}/image_{i:04d}.jpg"
        for name in ("Faces", "accordion", "yin_yang")
        for i in range(1, 5)
    ]
    extra: Content = {"101_ObjectCategories/BACKGROUND_Google/tmp": b"x", "101_ObjectCategories/Faces/._image_0001.jpg": b"x",
                      "101_ObjectCategories/BACKGROUND_Google/image_0001.jpg": picture(1),
                      "101_ObjectCategories/Faces_easy/image_0001.jpg": picture(1)}  # fmt: skip
    inner = tar_bytes(images(names) | extra, compressed=True)
    outer: Content = {"caltech-101/101_ObjectCategories.tar.gz": inner, "__MACOSX/caltech-101/._x": b"x"}
    write_zip(
        folder / "caltech-101.zip", outer | {"caltech-101/Annotations.tar": tar_bytes({"Annotations/a.mat": b"x"})}
    )
    return {"train": 9, "test": 3}


UCF = {
    "trainlist01.txt": ["ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1", "YoYo/v_YoYo_g25_c05.avi 101",
                        "HandstandPushups/v_HandStandPushups_g08_c01.avi 37"],
    "testlist01.txt": ["TaiChi/v_TaiChi_g01_c01.avi", "YoYo/v_YoYo_g01_c02.avi"],
}  # fmt: skip


def ucf_lists() -> Content:
    lists: Content = {f"ucfTrainTestlist/{name}": "\r\n".join(rows) + "\r\n" for name, rows in UCF.items()}
    classes = "".join(f"{number} {name}\r\n" for number, name in enumerate(class_table("ucf101"), start=1))
    return lists | {"ucfTrainTestlist/classInd.txt": classes}


def ucf101(folder: Path) -> dict[str, int]:
    folders = ["Apply_Eye_Makeup", "Yo_Yo", "Handstand_Pushups", "Tai_Chi", "Yo_Yo"]
    videos = [row.split()[0].split("/")[1] for rows in UCF.values() for row in rows]
    names = [f"UCF-101-midframes/{f}/{video[:-4]}.jpg" for f, video in zip(folders, videos, strict=True)]
    write_zip(folder / "UCF-101-midframes.zip", images(names))
    write_zip(folder / "UCF101TrainTestSplits-RecognitionTask.zip", ucf_lists())
    return {"train": 3, "test": 2}


PUBLISHED: Mapping[str, Callable[[Path], dict[str, int]]] = {
    f.__name__: f
    for f in (caltech101, dtd, eurosat, fgvc_aircraft, flowers102, food101, oxford_pets, stanford_cars, sun397, ucf101)
}


NAMES = tuple(sorted(PUBLISHED))


def without_checksums(patch: pytest.MonkeyPatch) -> None:
    """Let torchvision read lists of Flowers-102 that are not the published ones; they must still be there."""
    patch.setattr(
        tv.Flowers102, "_file_dict", {key: (name, None) for key, (name, _) in tv.Flowers102._file_dict.items()}
    )


def listing(ref: str, folder: Path, split: str) -> list[tuple[str, int]]:
    """(path, label) of a split's entries."""
    dataset = datasets.load(ref)
    source = open_source(folder, dataset.files, dataset.roots)
    return [(entry.path, entry.label) for entry in dataset.entries(dataset.info.name, split, source)]


def unpacked(ref: str, folder: Path, to: Path) -> Path:
    """Everything in the archives of a miniature as plain files below `to`."""
    source = open_source(folder, datasets.load(ref).files, datasets.load(ref).roots)
    return write_files(
        to, {path: source.read(path) for path in source.below("") if not path.endswith((".zip", ".gz", ".tgz"))}
    )
