"""The ten downstream datasets on miniatures of their archives: prepared, verified and evaluated without training; their lists
against torchvision's classes on the same files unpacked."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torchvision.datasets as tv
from PIL import Image

import datasets
from datasets import DatasetError
from datasets.clip_templates import CLIP_TEMPLATES
from datasets.downstream import Downstream, class_table
from datasets.sources import open_source
from datasets.ucf101 import middle_frame
from tests.datasets.miniature import picture, run_miniature, tar_bytes, write_files, write_tar, write_zip

Content = dict[str, bytes | str]
NAMES = ("caltech101", "dtd", "eurosat", "fgvc_aircraft", "flowers102", "food101", "oxford_pets", "stanford_cars",
         "sun397", "ucf101")  # fmt: skip


def mat(**variables: object) -> bytes:
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, variables)
    return buffer.getvalue()


def images(names: Sequence[str]) -> Content:
    return {name: picture(number) for number, name in enumerate(names)}


def food101(folder: Path) -> dict[str, int]:
    lists = {"train": ["waffles/9", "apple_pie/1005649", "apple_pie/7"], "test": ["apple_pie/11", "waffles/8"]}
    top = "food-101/"
    content = images([f"{top}images/{name}.jpg" for names in lists.values() for name in names])
    for split, names in lists.items():
        by_class: dict[str, list[str]] = {}
        for name in names:
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


@pytest.mark.parametrize("name", NAMES)
def test_from_the_published_archives_to_a_zero_shot_accuracy(
    tmp_path: Path, tiny_config: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    counts = {name: PUBLISHED[name](tmp_path / "published")}
    benchmark = {"methods": {"zero_shot": {}}, "sources": None}
    ran = run_miniature(name, tmp_path / "published", counts, tmp_path, tiny_config, monkeypatch, benchmark=benchmark)
    (record,) = ran.records
    assert record.spec.method == "zero_shot"
    (row,) = [row for row in ran.rows if row["split"] == "test" and row["domain"] == name]
    assert int(row["num_images"]) == counts[name]["test"]
    assert not set(ran.labels(name, "train")) & set(ran.labels(name, "test"))
    assert all(image.convert("RGB").size == (24, 20) for image in ran.images(name, "test").values())


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"caltech101", "eurosat", "ucf101", "sun397"}))
def test_lists_are_those_of_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The same images in the same order; classes in its order are those named here."""
    below, make = {
        "food101": ("", lambda root, split: [tv.Food101(root, split)]),
        "stanford_cars": ("stanford_cars", lambda root, split: [tv.StanfordCars(root, split)]),
        "oxford_pets": (
            "oxford-iiit-pet",
            lambda root, split: [tv.OxfordIIITPet(root, "trainval" if split == "train" else "test")],
        ),
        "fgvc_aircraft": ("", lambda root, split: [tv.FGVCAircraft(root, "trainval" if split == "train" else "test")]),
        "dtd": (
            "dtd",
            lambda root, split: [tv.DTD(root, s) for s in (("train", "val") if split == "train" else ("test",))],
        ),
        "flowers102": (
            "flowers-102",
            lambda root, split: [tv.Flowers102(root, s) for s in (("train", "val") if split == "train" else ("test",))],
        ),
    }[name]
    monkeypatch.setattr(tv.Flowers102, "_check_integrity", lambda self: True)  # checksums of the published files
    PUBLISHED[name](tmp_path / "published")
    unpacked(name, tmp_path / "published", tmp_path / "root" / below)
    keys = list(datasets.load(name).labels)  # type: ignore[attr-defined]
    for split in ("train", "test"):
        found: list[tuple[str, object]] = []
        for theirs in make(tmp_path / "root", split):
            files = getattr(theirs, "_image_files", None) or getattr(theirs, "_images", None)
            labels = theirs._labels if files else [label for _, label in theirs._samples]
            paths = [Path(path) for path in files or [path for path, _ in theirs._samples]]
            # Where its classes are those that it meets, labels of a miniature differ from those of the whole.
            names = theirs.classes if name in ("food101", "dtd") else keys
            found += [
                (path.name, str(names[label]).lower().replace(" ", "_"))
                for path, label in zip(paths, labels, strict=True)
            ]
        ours = listing(name, tmp_path / "published", split)
        expected = [(Path(path).name, keys[label].lower().replace(" ", "_")) for path, label in ours]
        assert sorted(found) == sorted(expected) and (found == expected or name == "food101")
        assert ours == [
            (path.removeprefix(f"{below}/"), label) for path, label in listing(name, tmp_path / "root", split)
        ]


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


@pytest.mark.parametrize(
    ("name", "list_name", "line", "message"),
    [
        ("food101", "food-101/meta/test.txt", "pie/1", "test.txt:1: 'pie' is no class of dataset food101"),
        ("food101", "food-101/meta/test.txt", "pie", "expected '<class>/<number>', got 'pie'"),
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


def video(num_frames: int) -> bytes:
    """An AVI of 32x24 pixels whose frame k is grey of value 8 k."""
    av = pytest.importorskip("av")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="avi") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for number in range(num_frames):
            frame = av.VideoFrame.from_image(Image.new("RGB", (32, 24), (8 * number,) * 3))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


@pytest.mark.parametrize("layout", ["UCF-101/{action}/{video}", "UCF101/{video}"])
def test_middle_frames_are_taken_from_videos(tmp_path: Path, layout: str) -> None:
    content = ucf_lists()
    for rows in UCF.values():
        for row in rows:
            action, name = row.split()[0].split("/")
            content[layout.format(action=action, video=name)] = video(9)
    source = open_source(write_files(tmp_path, content))
    dataset = datasets.load("ucf101")
    entries = dataset.entries("ucf101", "test", source)
    assert [entry.label for entry in entries] == [dataset.info.classnames.index(n) for n in ("Tai Chi", "Yo Yo")]
    data, extension = dataset.read(entries[0], source)
    image = np.asarray(Image.open(io.BytesIO(data)), dtype=int)
    assert extension == "png" and image.shape == (24, 32, 3) and abs(image - 8 * 4).max() <= 6, "frame 4 of 0 to 8"
    assert dataset.read(entries[0], source)[0] == data


def test_videos_without_their_reader_or_damaged_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    with pytest.raises(DatasetError, match=r"a\.avi: cannot be decoded"):
        middle_frame(b"RIFF" + bytes(200), "a.avi")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(
        DatasetError, match=r"needs PyAV: pip install av; or give the extracted frames, UCF-101-midframes\.zip"
    ):
        middle_frame(b"", "a.avi")


def test_class_names_and_prompts_are_those_of_clip() -> None:
    """Numbers and a hash of the lists in openai/CLIP@d05afc4 data/prompts.md; classes are matched by name, not by position."""
    info = {name: datasets.load(name).info for name in NAMES}
    assert {name: (len(i.classnames), len(i.templates)) for name, i in info.items()} == {
        "caltech101": (100, 34), "dtd": (47, 8), "eurosat": (10, 3), "fgvc_aircraft": (100, 2), "flowers102": (102, 1),
        "food101": (101, 1), "oxford_pets": (37, 1), "stanford_cars": (196, 8), "sun397": (397, 2), "ucf101": (101, 48),
    }  # fmt: skip
    text = "\n".join(template for name in sorted(CLIP_TEMPLATES) for template in CLIP_TEMPLATES[name])
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "c0a240e762ff06959b9cf3c2199b72ba701e3a51b070a04c829755e660e66ca4"
    )
    sun, ucf = class_table("sun397"), class_table("ucf101")
    assert sun["/j/jail_cell"] == "jail cell" and sun["/j/jail/indoor"] == "jail indoor"
    assert all(name.replace(" ", "") == key[2:].replace("/", "").replace("_", "") for key, name in sun.items())
    assert (
        ucf["HandstandPushups"] == "Hand Stand Pushups"
        and next(iter(ucf)) == "ApplyEyeMakeup"
        and list(ucf)[-1] == "YoYo"
    )
    assert class_table("eurosat")["HerbaceousVegetation"] == "brushland or shrubland"
    assert (
        class_table("caltech101")["Faces_easy"] == "centered face"
        and "centered face" not in info["caltech101"].classnames
    )
    assert list(class_table("oxford_pets"))[:2] == ["abyssinian", "american_bulldog"]


def test_facts_of_files_are_whole() -> None:
    for name in NAMES:
        for dataset in datasets.revisions(name).values():
            assert isinstance(dataset, Downstream) and dataset.info.domains == (name,)
            assert all(set(splits) == {"train", "test"} for splits in dataset.info.counts.values())
            for file in dataset.files:
                algorithm, _, digits = (file.checksum or "md5:" + "0" * 32).partition(":")
                assert len(digits) == {"md5": 32, "sha256": 64}[algorithm] and set(digits) <= set("0123456789abcdef")
    checksums: dict[str, Any] = {f.name: f.checksum for name in NAMES for f in datasets.load(name).files}
    assert checksums["food-101.tar.gz"] == f"md5:{tv.Food101._MD5}"
    assert checksums["dtd-r1.0.1.tar.gz"] == f"md5:{tv.DTD._MD5}"
    assert checksums["SUN397.tar.gz"] == f"md5:{tv.SUN397._DATASET_MD5}"
    assert {checksums[n] for n in ("images.tar.gz", "annotations.tar.gz")} == {
        f"md5:{m}" for _, m in tv.OxfordIIITPet._RESOURCES
    }
    assert all(checksums[n] == f"md5:{m}" for n, m in tv.Flowers102._file_dict.values())
    assert dataclasses.is_dataclass(datasets.load("dtd").info)
