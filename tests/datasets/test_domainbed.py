"""DomainBed's datasets but DomainNet, on miniatures of their archives, by its protocol: from the archives to the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import datasets
from datasets import DatasetError
from datasets.shards import write_prepared
from datasets.sources import open_source
from datasets.terra_incognita import ANNOTATIONS
from tests.datasets.miniature import picture, run_miniature, shrunk, write_files, write_tar, write_zip

DOMAINBED = {"protocol": "domainbed", "sources": None, "val_fraction": None}
# Sums of domainbed's paper, arXiv:2007.01434; for Terra Incognita of its download script and, in brackets, of the paper.
TOTALS = {"pacs": 9_991, "vlcs": 10_729, "office_home": 15_588, "terra_incognita": 24_330}
OLD_TERRA = 24_788


def per_domain(ref: str, images: int) -> dict[str, dict[str, int]]:
    return {domain: {"train": images} for domain in datasets.load(ref).info.domains}


def pacs(folder: Path) -> Path:
    info = datasets.load("pacs").info
    names = [
        f"kfold/{domain}/{name}/pic_{i:03d}.{'png' if domain == 'sketch' else 'jpg'}"
        for domain in info.domains
        for name in info.classnames[:5]
        for i in (1, 2)
    ]
    content = {name: picture(i, form="PNG" if name.endswith("png") else "JPEG") for i, name in enumerate(names)}
    return write_zip(folder / "PACS.zip", content | {"__MACOSX/kfold/._photo": b"x"}).parent


def vlcs(folder: Path) -> Path:
    info = datasets.load("vlcs").info
    names = [f"VLCS/{domain}/{name}/{i}.jpg" for domain in info.domains for name in info.classnames for i in (1, 2)]
    return write_tar(folder / "VLCS.tar.gz", {name: picture(i) for i, name in enumerate(names)}).parent


def office_home(folder: Path) -> Path:
    """With the space in 'Real World', and the lists and the page that lie beside the domains."""
    info, root = datasets.load("office_home").info, "OfficeHomeDataset_10072016"
    folders = ["Art", "Clipart", "Product", "Real World"]
    names = [f"{root}/{d}/{name}/0000{i}.jpg" for d in folders for name in info.classnames[-5:] for i in (1, 2)]
    beside = {f"{root}/ImageInfo.csv": "a,b\n", f"{root}/imagelist.txt": "x\n"}
    return write_zip(folder / "office_home.zip", beside | {name: picture(i) for i, name in enumerate(names)}).parent


def terra(folder: Path) -> Path:
    """All images in one folder; five JSON files, whose categories have ids; other locations and categories; two labels."""
    parts: list[dict[str, list[dict[str, object]]]] = [
        {"categories": [{"id": 6, "name": "bobcat"}, {"id": 1, "name": "opossum"}, {"id": 33, "name": "car"},
                        {"id": 30, "name": "empty"}], "images": [], "annotations": [], "info": []}
        for _ in ANNOTATIONS
    ]  # fmt: skip
    images = {}
    for number, location in enumerate([38, 43, 46, 100] * 10 + [7, 7]):
        part, name = parts[number % 5], f"{number:02x}a-23d2.jpg"
        part["images"].append({"id": name[:-4], "file_name": name, "location": location, "width": 24})
        for category in {4: (33,), 8: (6, 30)}.get(number, ((6, 1, 30)[number % 3],)):
            part["annotations"].append({"id": f"a{number}-{category}", "image_id": name[:-4], "category_id": category})
        images[f"eccv_18_all_images_sm/{name}"] = picture(number)
    write_tar(folder / "eccv_18_all_images_sm.tar.gz", images)
    texts = {name: json.dumps(part) for name, part in zip(ANNOTATIONS, parts, strict=True)}
    return write_tar(folder / "eccv_18_annotations.tar.gz", texts).parent


@pytest.mark.parametrize(
    ("ref", "published", "counts"),
    [
        ("pacs", pacs, per_domain("pacs", 10)),
        ("vlcs", vlcs, per_domain("vlcs", 10)),
        ("office_home", office_home, per_domain("office_home", 10)),
        # Of location 38 one image is of a category that is left out, and one is of two categories.
        ("terra_incognita", terra, per_domain("terra_incognita", 10)),
    ],
)
def test_from_the_published_archives_to_the_page(
    tmp_path: Path,
    tiny_config: Path,
    monkeypatch: pytest.MonkeyPatch,
    ref: str,
    published: Callable[[Path], Path],
    counts: dict[str, dict[str, int]],
) -> None:
    source, domains = published(tmp_path / "published"), datasets.load(ref).info.domains
    ran = run_miniature(ref, source, counts, tmp_path, tiny_config, monkeypatch, targets=domains, benchmark=DOMAINBED)
    assert [set(record.spec.data.targets) >= {d} for record, d in zip(ran.records, domains, strict=True)] == [True] * 4
    assert [record.spec.data.sources for record in ran.records] == [
        tuple(domain for domain in domains if domain != left_out) for left_out in domains
    ]
    tested = {row["domain"]: int(row["num_images"]) for row in ran.rows if row["domain"] in domains}
    assert all(0 < tested[domain] < counts[domain]["train"] for domain in domains), "a target is measured on its 80 %"


def test_counts_are_those_of_domainbed() -> None:
    for name, total in TOTALS.items():
        info = datasets.load(name).info
        assert all(set(splits) == {"train"} for splits in info.counts.values())
        assert sum(splits["train"] for splits in info.counts.values()) == total
    old = datasets.load("terra_incognita@domainbed-24788").info.counts
    assert sum(splits["train"] for splits in old.values()) == OLD_TERRA
    assert {len(datasets.load(name).info.classnames) for name in TOTALS} == {7, 5, 65, 10}
    assert datasets.load("office_home").info.class_counts["Real_World"]["train"][:2] == (86, 99)


def test_pacs_lies_in_any_of_its_three_layouts(tmp_path: Path) -> None:
    archive = pacs(tmp_path / "a") / "PACS.zip"
    dataset = shrunk(datasets.load("pacs"), per_domain("pacs", 10))
    expected = write_prepared(dataset, tmp_path / "out", archive).identity
    content = {
        p: open_source(archive.parent, dataset.files).read(p)
        for p in open_source(archive.parent, dataset.files).below("kfold")
    }
    for number, place in enumerate(("PACS/kfold", "PACS", "")):
        named = {f"{place}/{path.removeprefix('kfold/')}".lstrip("/"): data for path, data in content.items()}
        folder = write_files(tmp_path / f"layout{number}", named)
        assert write_prepared(dataset, tmp_path / f"out{number}", folder).identity == expected


def test_terra_incognita_gives_the_same_images_from_archives_and_from_domainbeds_folders(tmp_path: Path) -> None:
    dataset = datasets.load("terra_incognita")
    archives = open_source(terra(tmp_path / "published"), dataset.files, dataset.roots)
    found = {
        domain: [
            (entry.key, entry.label, archives.read(entry.path)) for entry in dataset.entries(domain, "train", archives)
        ]
        for domain in dataset.info.domains
    }
    assert {domain: len(entries) for domain, entries in found.items()} == dict.fromkeys(dataset.info.domains, 10)
    twice = [key for key, *_ in found["location_38"] if "08a-23d2" in key]
    assert twice == ["bobcat-08a-23d2", "empty-08a-23d2"], "an image of two categories is in both"
    assert not any("-04a-23d2" in key for key, *_ in found["location_38"]), "a car is none of the ten categories"
    folder = tmp_path / "prepared"
    for domain, entries in found.items():
        content = {f"terra_incognita/{domain}/{key.replace('-', '/', 1)}.jpg": data for key, _, data in entries}
        write_files(folder, content)
    again = open_source(folder, dataset.files, dataset.roots)
    for domain, entries in found.items():
        assert [(e.key, e.label, again.read(e.path)) for e in dataset.entries(domain, "train", again)] == entries


def test_what_is_missing_or_damaged_of_terra_incognita_is_named(tmp_path: Path) -> None:
    dataset = datasets.load("terra_incognita")
    folder = terra(tmp_path)
    (folder / "eccv_18_all_images_sm.tar.gz").rename(tmp_path / "elsewhere")
    with pytest.raises(
        FileNotFoundError, match=r"10 of 10 images of location_43 do not exist; .*images_sm\.tar\.gz is missing"
    ):
        dataset.entries("location_43", "train", open_source(folder, dataset.files, dataset.roots))
    (folder / "eccv_18_annotations.tar.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"cis_test_annotations\.json does not exist.*or give the folders"):
        dataset.entries("location_43", "train", open_source(folder, dataset.files, dataset.roots))
    write_files(folder, dict.fromkeys(ANNOTATIONS, '{"images": 3}'))
    with pytest.raises(DatasetError, match=r"cis_test_annotations\.json: categories: Field required"):
        dataset.entries("location_43", "train", open_source(folder, dataset.files, dataset.roots))


def test_a_count_that_differs_is_an_error(tmp_path: Path) -> None:
    dataset = shrunk(datasets.load("vlcs"), per_domain("vlcs", 10) | {"SUN09": {"train": 11}})
    with pytest.raises(DatasetError, match="SUN09"):
        write_prepared(dataset, tmp_path / "out", vlcs(tmp_path / "in"))
