"""ImageNet and its shifts: facts, and a miniature of each published archive with its quirks, to the page."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import open_clip
import pyarrow.parquet as pq
import pytest
from PIL import Image

import datasets
from datasets.imagenet import DEVKIT, SYNSET_LABELS, ImageNet
from datasets.imagenet_facts import A_LABELS, CLASSNAMES, OBJECTNET_FOLDERS, R_LABELS, WNIDS
from datasets.sources import open_source
from tests.datasets.miniature import mat, picture, run_miniature, tar_bytes, write_files, write_tar, write_zip

TENCH, GOLDFISH, CHAIRS = 0, 1, (423, 559, 765)
IDS = {"n02119789": 1, WNIDS[TENCH]: 449, WNIDS[GOLDFISH]: 450}
"""ILSVRC2012_IDs, which are neither labels nor sorted; those of the devkit for all others are made up"""
COUNTS = {
    "imagenet": {"train": 8, "test": 4},
    "v2": {"test": 4},
    "r": {"test": 3},
    "a": {"test": 3},
    "sketch": {"test": 2},
    "objectnet": {"test": 3},
}


def bordered(number: int) -> bytes:
    """A PNG with ObjectNet's red border of one pixel and a darker one inside it, 30 x 26 pixels in all."""
    image = Image.new("RGB", (30, 26), (255, 0, 0))
    image.paste((200, 30, 30), (1, 1, 29, 25))
    image.paste((number, 90, 120), (2, 2, 28, 24))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def devkit() -> dict[str, bytes | str]:
    """The labels of four validation images (goldfish, tench, tench, goldfish) and meta.mat with all 1,000 classes."""
    rest = iter(number for number in range(2, 1001) if number not in IDS.values())
    ids = {wnid: IDS.get(wnid) or next(rest) for wnid in sorted(WNIDS)}
    # 1,000 classes first, then nodes above them, as in the devkit.
    rows = [*sorted((n, wnid) for wnid, n in ids.items()), (1001, "n00001740")]
    synsets = np.zeros((len(rows), 1), dtype=[("ILSVRC2012_ID", object), ("WNID", object), ("words", object)])
    for row, (number, wnid) in zip(synsets, rows, strict=True):
        row[0] = (np.array([[float(number)]]), wnid, "a name")
    truth = "450\n449\n449\n450\n"
    return {f"{DEVKIT}/ILSVRC2012_validation_ground_truth.txt": truth, f"{DEVKIT}/meta.mat": mat(synsets=synsets)}


def inner_tars() -> dict[str, bytes]:
    """<wnid>.tar with <wnid>_<number>.JPEG; one image is CMYK and one a PNG by another name, as in the original."""
    content = {}
    for label in (TENCH, GOLDFISH):
        wnid = WNIDS[label]
        images = {f"{wnid}_{n}.JPEG": picture(label * 4 + n) for n in (10026, 18, 2)}
        images[f"{wnid}_99.JPEG"] = picture(9, mode="CMYK") if label else picture(9, form="PNG")
        content[f"{wnid}.tar"] = tar_bytes(images)
    return content


def published(folder: Path) -> Path:
    """All archives as their authors offer them."""
    r, a = WNIDS[R_LABELS[0]], WNIDS[A_LABELS[-1]]
    val = {f"ILSVRC2012_val_0000000{n}.JPEG": picture(n) for n in range(1, 5)}
    v2 = {f"imagenetv2-matched-frequency-format-val/{n}/{n:040x}.jpeg": picture(n) for n in (2, 10, 100, 999)}
    folder.mkdir()
    (folder / "ILSVRC2012_img_train.tar").write_bytes(tar_bytes(inner_tars()))
    write_tar(folder / "ILSVRC2012_img_val.tar", val)
    write_tar(folder / "ILSVRC2012_devkit_t12.tar.gz", devkit())
    # Called .tar.gz, but never compressed.
    (folder / "imagenetv2-matched-frequency.tar.gz").write_bytes(tar_bytes(v2))
    r_images = {f"imagenet-r/{r}/{style}_0.jpg": picture(len(style)) for style in ("art", "toy", "video game")}
    write_tar(folder / "imagenet-r.tar", {"imagenet-r/README.txt": "renditions", **r_images})
    a_images = {f"imagenet-a/{a}/0.00{n}_jeep _ jeep_0.98.jpg": picture(n) for n in range(3)}
    write_tar(folder / "imagenet-a.tar", {"imagenet-a/README.txt": "natural", **a_images})
    sketches = {f"sketch/{WNIDS[999]}/sketch_{n}.JPEG": picture(n, mode="L") for n in range(2)}
    write_zip(folder / "ImageNet-Sketch.zip", sketches)
    objects = {f"objectnet-1.0/images/{name}/0a{n}.png": bordered(n) for n, name in enumerate(("chair", "chair", "tv"))}
    others = {"objectnet-1.0/images/air_freshener/1.png": bordered(5), "objectnet-1.0/README": "ObjectNet"}
    write_zip(folder / "objectnet-1.0.zip", objects | others)
    return folder


def entries(folder: Path, domain: str, split: str) -> dict[str, int]:
    source = open_source(folder, ImageNet.files, ImageNet.roots)
    return {entry.key: entry.label for entry in ImageNet().entries(domain, split, source)}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Archives are decompressed below the test's own folder."""
    monkeypatch.setenv("ROBUST_FT_BENCH_CACHE", str(tmp_path / "cache"))


def test_names_are_openais_and_labels_are_the_sorted_wnids():
    assert list(CLASSNAMES) == list(open_clip.IMAGENET_CLASSNAMES)
    assert len(WNIDS) == len(set(WNIDS)) == 1000 and list(WNIDS) == sorted(WNIDS)
    assert all(re.fullmatch(r"n\d{8}", wnid) for wnid in WNIDS)
    assert (WNIDS[0], CLASSNAMES[0]) == ("n01440764", "tench")
    assert (WNIDS[65], CLASSNAMES[65]) == ("n01751748", "sea snake")
    assert [label for label, name in enumerate(CLASSNAMES) if CLASSNAMES.count(name) > 1] == [657, 744, 836, 837]


def test_masks_are_the_published_ones():
    assert len(R_LABELS) == len(A_LABELS) == 200 and len(set(R_LABELS) & set(A_LABELS)) == 86
    # First and last of the lists in WiSE-FT's imagenet_r.py and imagenet_a.py, and their sums.
    assert (R_LABELS[:4], R_LABELS[-2:], sum(R_LABELS)) == ((1, 2, 4, 6), (983, 988), 86_135)
    assert (A_LABELS[:4], A_LABELS[-2:], sum(A_LABELS)) == ((6, 11, 13, 15), (987, 988), 102_178)
    assert len(OBJECTNET_FOLDERS) == 113 and sum(map(len, OBJECTNET_FOLDERS.values())) == 125
    assert OBJECTNET_FOLDERS["chair"] == CHAIRS and [CLASSNAMES[n] for n in OBJECTNET_FOLDERS["tv"]] == ["television"]
    info = datasets.load("imagenet").info
    assert info.groups["objectnet"][list(OBJECTNET_FOLDERS).index("chair")] == CHAIRS
    assert info.default_domains == ("imagenet", "v2", "r", "a", "sketch")


def test_all_archives_run_to_the_page(tmp_path, tiny_config, monkeypatch):
    source = published(tmp_path / "source")
    ran = run_miniature("imagenet", source, COUNTS, tmp_path, tiny_config, monkeypatch, sources=["imagenet"])
    train = ran.labels("imagenet", "train")
    assert train[f"{WNIDS[0]}-{WNIDS[0]}_10026"] == TENCH and train[f"{WNIDS[1]}-{WNIDS[1]}_99"] == GOLDFISH
    assert list(ran.labels("imagenet", "test").values()) == [GOLDFISH, TENCH, TENCH, GOLDFISH]
    assert sorted(ran.labels("v2", "test").values()) == [2, 10, 100, 999], "a folder's name is its label"
    assert set(ran.labels("r", "test").values()) == {1} and set(ran.labels("a", "test").values()) == {988}
    assert set(ran.labels("sketch", "test").values()) == {999}
    assert sorted(ran.labels("objectnet", "test").values()) == [CHAIRS[0], CHAIRS[0], 851]
    for image in ran.images("objectnet", "test").values():
        assert image.size == (26, 22), "two pixels are cut off on each side"
        assert image.convert("RGB").getpixel((0, 0))[1:] == (90, 120), "nothing is left of the border"
    assert ran.prepared.groups["objectnet"] == ImageNet.info.groups["objectnet"]
    tested = {row["domain"]: int(row["num_images"]) for row in ran.rows if row["split"] == "test"}
    assert {domain: tested[domain] for domain in COUNTS} == {d: splits["test"] for d, splits in COUNTS.items()}
    (record,) = ran.records
    outcomes = pq.read_table(ran.results.trial(record.id) / "predictions.parquet").to_pylist()
    for domain, groups in ImageNet.info.groups.items():
        predicted = {row["prediction"] for row in outcomes if row["domain"] == domain}
        assert predicted and predicted <= {group[0] for group in groups}, "no class outside of the mask can win"


def test_unpacked_folders_work_as_on_most_clusters(tmp_path):
    wnid = WNIDS[5]
    write_files(tmp_path, {f"train/{wnid}/{wnid}_1.JPEG": b"x", f"val/{wnid}/ILSVRC2012_val_00000009.JPEG": b"x"})
    assert entries(tmp_path, "imagenet", "train") == {f"{wnid}-{wnid}_1": 5}
    assert entries(tmp_path, "imagenet", "test") == {f"{wnid}-ILSVRC2012_val_00000009": 5}
    write_files(tmp_path, {"imagenetv2-matched-frequency/7/a.jpeg": b"x", f"sketch/{wnid}/sketch_1.JPEG": b"x"})
    assert entries(tmp_path, "v2", "test") == {"7-a": 7}
    assert entries(tmp_path, "sketch", "test") == {f"{wnid}-sketch_1": 5}
    write_files(tmp_path, {"objectnet-1.0/images/tv/1.png": b"x", "objectnet-1.0/images/zipper/2.png": b"x"})
    assert entries(tmp_path, "objectnet", "test") == {"tv-1": 851}, "classes that ImageNet does not have are left out"


def test_flat_validation_images_take_their_labels_from_either_list(tmp_path):
    images = {f"val/ILSVRC2012_val_0000000{n}.JPEG": b"x" for n in (1, 2)}
    write_files(tmp_path, images)
    with pytest.raises(FileNotFoundError, match=rf"labels of the validation images.*devkit_t12.*{SYNSET_LABELS}"):
        entries(tmp_path, "imagenet", "test")
    write_files(tmp_path, devkit())
    assert list(entries(tmp_path, "imagenet", "test").values()) == [GOLDFISH, TENCH]
    write_files(tmp_path, {SYNSET_LABELS: f"{WNIDS[8]}\n{WNIDS[9]}\n"})
    assert list(entries(tmp_path, "imagenet", "test").values()) == [8, 9]
    write_files(tmp_path, {SYNSET_LABELS: f"{WNIDS[8]}\nn00000000\n"})
    with pytest.raises(datasets.DatasetError, match=rf"{SYNSET_LABELS}:2: 'n00000000' is no class"):
        entries(tmp_path, "imagenet", "test")
    write_files(tmp_path, {SYNSET_LABELS: f"{WNIDS[8]}\n"})
    with pytest.raises(datasets.DatasetError, match=r"00000002.*numbers from 1 to 1, the number of labels"):
        entries(tmp_path, "imagenet", "test")


@pytest.mark.parametrize(
    ("domain", "path", "message"),
    [
        ("r", f"imagenet-r/{WNIDS[0]}/a.jpg", "folder 'n01440764' is none of the 200 classes"),
        ("v2", "imagenetv2-matched-frequency/1000/a.jpeg", "folder '1000' is none of the 1000 classes"),
        ("sketch", f"sketch/{WNIDS[0]}/more/a.JPEG", "expected <class>/<image>"),
        ("a", f"imagenet-a/{WNIDS[6]}/a.txt", "expected <class>/<image>"),
    ],
)
def test_files_that_do_not_fit_are_named(tmp_path, domain, path, message):
    write_files(tmp_path, {path: b"x"})
    with pytest.raises(datasets.DatasetError, match=re.escape(message)):
        entries(tmp_path, domain, "test")


def test_missing_archives_are_named_with_where_to_get_them(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"imagenet-r\.tar is missing: get it from https://people\.eecs"):
        entries(tmp_path, "r", "test")
    with pytest.raises(FileNotFoundError, match=r"ILSVRC2012_img_train\.tar is missing: get it by hand"):
        entries(tmp_path, "imagenet", "train")
    with pytest.raises(datasets.DatasetError, match="has no v2/train, only imagenet/train"):
        entries(tmp_path, "v2", "train")
