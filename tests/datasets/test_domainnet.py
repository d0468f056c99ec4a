"""DomainNet's facts, and a miniature of its archives for each revision, from the zips to the page."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from open_clip import zero_shot_metadata

import datasets
from datasets.domainnet import CLASS_COUNTS, CLASSNAMES, COUNTS, DOMAINS, DUPLICATES, ORIGINAL_COUNTS
from datasets.shards import write_prepared
from datasets.sources import open_source
from datasets.templates import OPENAI_IMAGENET_TEMPLATES
from tests.datasets.miniature import picture, run_miniature, shrunk, write_files, write_zip

DUPLICATE = "sketch/zebra/sketch_344_000009.jpg"


def image_lists() -> dict[str, list[str]]:
    """Lines of the lists of two domains, as published: '<domain>/<class>/<domain>_<class + 1>_<number>.jpg <label>'."""
    lists = {}
    for domain in ("sketch", "painting"):
        for split, first in (("train", 1), ("test", 5)):
            lists[f"{domain}_{split}"] = [
                f"{domain}/{CLASSNAMES[label]}/{domain}_{label + 1:03d}_{first + n:06d}.jpg {label}"
                for label in (0, 327, 342)
                for n in range(3 if split == "train" else 2)
                if (domain, split, label) != ("painting", "train", 327)
            ]
    return lists


def published(folder: Path, lists_at: dict[str, str]) -> Path:
    """The authors' files: a zip for each domain, those of painting and clipart in groundtruth/, and the lists."""
    lists = image_lists()
    for domain in ("sketch", "painting"):
        names = [line.split()[0] for key, lines in lists.items() if key.startswith(domain) for line in lines]
        # Images that no list names are in the published zips too.
        names.append(f"{domain}/zebra/{domain}_344_000009.jpg")
        content = {name: picture(number) for number, name in enumerate(names)}
        write_zip(folder / ("groundtruth" if domain == "painting" else "") / f"{domain}.zip", content)
    texts = {f"{lists_at[key.split('_')[0]]}{key}.txt": "\n".join(lines) + "\n" for key, lines in lists.items()}
    return write_files(folder, texts)


def test_class_names_are_the_official_ones_in_order():
    assert len(CLASSNAMES) == len(set(CLASSNAMES)) == 345
    assert sum("_" in name for name in CLASSNAMES) == 51
    assert CLASSNAMES[327] == "t-shirt"
    assert (CLASSNAMES[0], CLASSNAMES[1], CLASSNAMES[344]) == ("aircraft_carrier", "airplane", "zigzag")
    digest = hashlib.sha256("\n".join(CLASSNAMES).encode()).hexdigest()
    assert digest == "ba29ce5a210ff5ac95e92d3ec26faac84f18000220a031207f62f28cefb9d07c", (
        "the published list, in its order"
    )
    assert {"The_Eiffel_Tower", "The_Great_Wall_of_China", "The_Mona_Lisa", "teddy-bear"} <= set(CLASSNAMES)


def test_counts_are_those_of_the_lists_of_each_revision():
    assert sum(splits["train"] for splits in COUNTS.values()) == 409_832
    assert sum(splits["test"] for splits in COUNTS.values()) == 176_743
    assert sum(sum(splits.values()) for splits in ORIGINAL_COUNTS.values()) - 409_832 - 176_743 == 9_431
    assert ORIGINAL_COUNTS["real"] == {"train": 122_563, "test": 52_764}
    pool = datasets.load("domainnet@domainbed").info
    assert sum(splits["train"] for splits in pool.counts.values()) == 586_575
    assert pool.default_domains == ("clipart", "infograph", "painting", "quickdraw", "real", "sketch")
    info = datasets.load("domainnet").info
    assert info.default_domains == ("real", "painting", "clipart", "infograph", "sketch")
    assert set(info.domains) - set(info.default_domains) == {"quickdraw"} and info.domains == DOMAINS
    assert any("t-shirt" in note and "painting" in note for note in info.notes)
    for revision, counts in (("cleaned", COUNTS), ("original", ORIGINAL_COUNTS)):
        for domain, splits in CLASS_COUNTS[revision].items():
            for split, per_class in splits.items():
                assert len(per_class) == 345 and sum(per_class) == counts[domain][split]
                absent = [CLASSNAMES[label] for label, number in enumerate(per_class) if number == 0]
                cleaned_away = (revision, domain, split) == ("cleaned", "painting", "test")
                assert absent == (["syringe"] if cleaned_away else [])
    assert any("syringe" in note for note in info.notes)


def test_every_file_has_an_address_and_those_of_the_cleaned_lists_a_checksum():
    files = {file.name: file for file in datasets.load("domainnet").files}
    assert len(files) == 6 + 12
    assert all(file.urls[0].endswith(f"/multi-source/{name}") for name, file in files.items())
    assert all(file.bytes and str(file.checksum).startswith("sha256:") for file in files.values())
    assert {"groundtruth/clipart.zip", "groundtruth/painting.zip", "domainnet/txt/clipart_train.txt"} <= set(files)
    assert files["groundtruth/clipart.zip"].domains == ("clipart",)
    original = {file.name for file in datasets.load("domainnet@original").files}
    assert {"txt/real_train.txt", "groundtruth/txt/clipart_test.txt"} <= original


def test_the_zips_run_from_the_archive_to_the_page(tmp_path, tiny_config, monkeypatch):
    source = published(tmp_path / "source", dict.fromkeys(DOMAINS, "domainnet/txt/"))
    counts = {"painting": {"train": 6, "test": 6}, "sketch": {"train": 9, "test": 6}}
    ran = run_miniature("domainnet", source, counts, tmp_path, tiny_config, monkeypatch, sources=["painting"])
    assert ran.prepared.domains == ("painting", "sketch")
    assert ran.prepared.revision == "cleaned" and len(ran.prepared.classnames) == 345
    # painting's train list has no t-shirt (327), its test list has; the order is that of the list
    assert ran.prepared.counts["painting"]["train"][327] == 0 and ran.prepared.counts["painting"]["test"][327] == 2
    assert list(ran.labels("sketch", "train").items())[:4] == [
        ("aircraft_carrier-sketch_001_000001", 0),
        ("aircraft_carrier-sketch_001_000002", 0),
        ("aircraft_carrier-sketch_001_000003", 0),
        ("t-shirt-sketch_328_000001", 327),
    ]
    assert not any("000009" in key for key in ran.labels("sketch", "train") | ran.labels("sketch", "test"))


def test_the_original_lists_are_another_revision_in_another_folder(tmp_path, tiny_config, monkeypatch):
    places = dict.fromkeys(DOMAINS, "txt/") | {"painting": "groundtruth/txt/"}
    source = published(tmp_path / "source", places)
    counts = {"painting": {"train": 6, "test": 6}, "sketch": {"train": 9, "test": 6}}
    ran = run_miniature("domainnet@original", source, counts, tmp_path, tiny_config, monkeypatch, sources=["sketch"])
    assert ran.prepared.revision == "original" and Path(ran.prepared.root).name == "domainnet@original"


def test_domainbed_pools_all_images_but_the_duplicates(tmp_path, tiny_config, monkeypatch):
    source = published(tmp_path / "source", dict.fromkeys(DOMAINS, "domainnet/txt/"))
    counts = {"painting": {"train": 13}, "sketch": {"train": 15}}
    ref = "domainnet@domainbed"
    small = shrunk(datasets.load(ref), counts)
    with pytest.raises(FileNotFoundError, match=rf"{DUPLICATES} does not exist; get it from https://raw\.github"):
        write_prepared(small, tmp_path / "none", source, domains=("painting",))
    (source / DUPLICATES).write_text("real/apple/real_009_000001.jpg\n")
    with pytest.raises(datasets.DatasetError, match="sketch/train: expected 15 images, found 16"):
        write_prepared(small, tmp_path / "other", source, domains=("sketch",))
    (source / DUPLICATES).write_text(f"{DUPLICATE}\nreal/apple/real_009_000001.jpg\n")
    protocol = {"protocol": "domainbed", "sources": None, "val_fraction": None, "targets": ["painting", "sketch"]}
    ran = run_miniature(ref, source, counts, tmp_path, tiny_config, monkeypatch, benchmark=protocol)
    assert "zebra-sketch_344_000009" not in ran.labels("sketch", "train")
    assert ran.labels("painting", "train")["zebra-painting_344_000009"] == 343


def test_unpacked_folders_with_the_lists_beside_them_work_as_well(tmp_path):
    folder = published(tmp_path / "packed", dict.fromkeys(DOMAINS, ""))
    for name in [line.split()[0] for lines in image_lists().values() for line in lines]:
        write_files(tmp_path / "unpacked", {name: picture(len(name))})
    write_files(tmp_path / "unpacked", {path.name: path.read_bytes() for path in folder.glob("*.txt")})
    dataset = datasets.load("domainnet")
    for folder in (tmp_path / "packed", tmp_path / "unpacked"):
        source = open_source(folder, dataset.files, dataset.roots)
        assert [entry.label for entry in dataset.entries("sketch", "test", source)] == [0, 0, 327, 327, 342, 342]
    with pytest.raises(FileNotFoundError, match=r"real_train\.txt does not exist; .*ai\.bu\.edu/DomainNet"):
        dataset.entries("real", "train", source)


def test_templates_are_openais_eighty_in_order():
    assert len(OPENAI_IMAGENET_TEMPLATES) == len(set(OPENAI_IMAGENET_TEMPLATES)) == 80
    assert [t("{}") for t in zero_shot_metadata.OPENAI_IMAGENET_TEMPLATES] == list(OPENAI_IMAGENET_TEMPLATES)
