"""The registry: every dataset is found, loads and is complete; nobody else's `datasets` gets in the way."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import datasets
from datasets.base import SPLITS, Dataset
from tests.datasets.statistics import COMMITTED, references, statistics

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(datasets.available())
REFERENCES = references()
PUBLISHED_TOTALS = {
    # DomainBed's table of datasets (arXiv:2007.01434, section 4); domainnet@original: "0.6 million", 596,006 in its lists.
    "domainnet@cleaned": 586_575,
    "domainnet@original": 596_006,
    "domainnet@domainbed": 586_575,
    "cub@proposed-split": 11_788,
    "imagenet@ilsvrc2012": 1_281_167 + 50_000 + 10_000 + 30_000 + 7_500 + 50_889 + 18_574,
}


def test_this_package_is_the_one_in_this_checkout():
    assert Path(datasets.__file__).resolve() == ROOT / "datasets" / "__init__.py"
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.distribution("datasets")


def test_an_installed_namesake_is_refused(tmp_path):
    metadata = tmp_path / "datasets-9.9.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: datasets\nVersion: 9.9\n")
    code = f"import sys; sys.path.append({str(tmp_path)!r}); import datasets"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode != 0
    assert "ImportError: the distribution 'datasets' 9.9" in run.stderr and "pip uninstall datasets" in run.stderr


def test_tools_and_helpers_are_no_datasets():
    assert set(NAMES) >= {"cub", "demo", "domainnet", "imagenet", "pacs"}
    tools = {path.stem for path in (ROOT / "datasets").glob("*.py")} - set(NAMES)
    assert tools >= {"__init__", "base", "shards", "folder", "stream", "transforms", "templates", "demo_scene"}
    assert all(
        not hasattr(importlib.import_module(f"datasets.{name}"), "DATASET") for name in ("folder", "base", "shards")
    )


def test_finding_datasets_imports_none_of_them():
    code = "import datasets, sys; datasets.available(); print([m for m in sys.modules if m.startswith('datasets.')])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "['datasets.base']"


def test_opening_a_prepared_dataset_needs_no_torch(blobs):
    code = (
        "import sys; from datasets.shards import open_prepared, index_shard\n"
        f"prepared = open_prepared({blobs.root!r}); index_shard(prepared.path(prepared.shards[0]))\n"
        "print(sorted({'torch', 'ray', 'webdataset'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("ref", REFERENCES)
def test_every_revision_loads_and_its_facts_are_complete(ref):
    dataset = datasets.load(ref)
    info = dataset.info
    assert isinstance(dataset, Dataset) and f"{info.name}@{info.revision}" == ref
    for field in ("title", "revision", "source", "license", "citation"):
        assert getattr(info, field).strip(), field
    assert all(template.count("{}") == 1 for template in info.templates)
    assert len(set(info.templates)) == len(info.templates)
    assert len(info.classnames) >= 2 and all(classname.strip() == classname != "" for classname in info.classnames)
    assert set(info.counts) == set(info.domains)
    for domain, splits in info.counts.items():
        assert splits and set(splits) <= set(SPLITS) and min(splits.values()) > 0
        assert tuple(splits) == dataset.splits(domain)
        assert set(info.class_counts.get(domain, {})) <= set(splits)
    for domain, by in info.class_counts.items():
        for split, per_class in by.items():
            assert len(per_class) == len(info.classnames) and sum(per_class) == info.counts[domain][split]
    assert info.default_domains and set(info.optional_domains) < set(info.domains)
    assert any("train" in info.counts[domain] for domain in info.default_domains) or info.notes
    assert all(note.strip().endswith((".", "!")) for note in info.notes), "notes are sentences"


@pytest.mark.parametrize("ref", REFERENCES)
def test_groups_and_files_fit_the_dataset(ref):
    dataset = datasets.load(ref)
    info = dataset.info
    for domain, groups in info.groups.items():
        labels = [label for group in groups for label in group]
        assert len(set(labels)) == len(labels) and set(labels) <= set(range(len(info.classnames))), domain
        assert all(groups), domain
        for per_class in info.class_counts.get(domain, {}).values():
            assert {label for label, number in enumerate(per_class) if number} == {group[0] for group in groups}
    names = [file.name for file in dataset.files]
    assert len(set(names)) == len(names)
    for file in dataset.files:
        assert set(file.domains) <= set(info.domains), file.name
        assert not file.name.startswith("/") and ".." not in file.name, file.name
        assert all(url.startswith(("https://", "http://")) for url in file.urls), file.name
        if file.checksum is not None:
            kind, _, digits = file.checksum.partition(":")
            assert (kind, len(digits)) in {("sha256", 64), ("md5", 32)} and int(digits, 16) >= 0, file.name
        assert file.bytes is None or file.bytes > 0, file.name


@pytest.mark.parametrize("ref", REFERENCES)
def test_workers_get_the_dataset(ref):
    dataset = datasets.load(ref)
    assert pickle.loads(pickle.dumps(dataset)).info == dataset.info


@pytest.mark.parametrize("ref", REFERENCES)
def test_numbers_are_the_committed_ones(ref):
    committed = json.loads(COMMITTED.read_text())
    assert ref in committed, f"{ref} is not in {COMMITTED.name}; see `python -m tests.datasets.statistics`"
    assert statistics(datasets.load(ref).info) == committed[ref]


def test_nothing_is_committed_about_datasets_that_are_gone():
    assert set(json.loads(COMMITTED.read_text())) == set(REFERENCES)


@pytest.mark.parametrize(("ref", "images"), PUBLISHED_TOTALS.items())
def test_counts_add_up_to_what_was_published(ref, images):
    assert sum(sum(splits.values()) for splits in datasets.load(ref).info.counts.values()) == images


def test_class_names_repeat_only_where_their_authors_repeat_them():
    repeated = {ref: statistics(datasets.load(ref).info).get("repeated_names") for ref in REFERENCES}
    assert {ref: names for ref, names in repeated.items() if names} == {
        "imagenet@ilsvrc2012": ["missile", "sunglasses"]
    }


def test_a_revision_is_named_after_the_dataset_and_has_a_folder_of_its_own():
    assert list(datasets.revisions("domainnet")) == ["cleaned", "original", "domainbed"]
    assert datasets.load("domainnet") is datasets.load("domainnet@cleaned")
    assert datasets.load("domainnet@original").info.counts["real"]["train"] == 122_563
    assert datasets.folder_name("domainnet") == datasets.folder_name("domainnet@cleaned") == "domainnet"
    assert datasets.folder_name("domainnet@original") == "domainnet@original"
    folders = [datasets.folder_name(ref) for ref in REFERENCES]
    assert len(set(folders)) == len(folders)


def test_an_unknown_revision_lists_the_known_and_the_nearest():
    with pytest.raises(
        datasets.DatasetError,
        match=r"unknown revision 'orignal' of dataset 'domainnet', did you mean 'original'\? "
        r"\(known: cleaned \(default\), original, domainbed; written as domainnet@REVISION\)",
    ):
        datasets.load("domainnet@orignal")
    with pytest.raises(datasets.DatasetError, match="unknown dataset 'domanet', did you mean 'domainnet'"):
        datasets.folder_name("domanet@original")


def card(folder: Path, name: str, revision: str) -> Path:
    text = (ROOT / "datasets/cards/pacs@pacs-128.yaml").read_text()
    lines = [line for line in text.splitlines() if not line.startswith(("name:", "revision:"))]
    path = folder / f"{name}.yaml"
    path.write_text("\n".join([*lines, f"name: {name.partition('@')[0]}", f"revision: '{revision}'"]))
    return path


def test_cards_beside_a_card_are_its_further_revisions(tmp_path, monkeypatch):
    (tmp_path / "cards").mkdir()
    monkeypatch.setattr(datasets, "_HERE", tmp_path)
    card(tmp_path / "cards", "birds", "1.0")
    card(tmp_path / "cards", "birds@2.0", "2.0")
    assert list(datasets.available()) == ["birds"] and list(datasets.revisions("birds")) == ["1.0", "2.0"]
    assert datasets.load("birds").info.revision == "1.0" and datasets.load("birds@2.0").info.revision == "2.0"
    assert [datasets.folder_name(ref) for ref in ("birds", "birds@1.0", "birds@2.0")] == ["birds", "birds", "birds@2.0"]
    card(tmp_path / "cards", "birds@3.0", "2.0")
    with pytest.raises(datasets.DatasetError, match=r"filed as revision '3\.0' calls itself birds@2\.0"):
        datasets.revisions("birds")


def test_a_card_of_ones_own_has_the_folder_that_its_file_says(tmp_path):
    assert datasets.folder_name(card(tmp_path, "birds", "2.0")) == "birds"
    assert datasets.folder_name(str(card(tmp_path, "birds@2.0", "2.0"))) == "birds@2.0"


@pytest.mark.parametrize("path", sorted((ROOT / "datasets" / "cards").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_card_has_at_most_fifteen_lines(path):
    assert len(path.read_text().splitlines()) <= 15


def test_an_unknown_name_lists_the_known_and_the_nearest():
    with pytest.raises(
        datasets.DatasetError,
        match=r"unknown dataset 'domanet', did you mean 'domainnet'\? \(known: .*demo, .*domainnet, .*pacs",
    ):
        datasets.load("domanet")
    with pytest.raises(datasets.DatasetError, match="unknown dataset 'shards'"):
        datasets.load("shards")


def test_a_dataset_of_the_wrong_kind_or_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "available", lambda: {"demo": tmp_path / "demo.py"})
    module = importlib.import_module("datasets.demo")
    monkeypatch.setattr(module, "DATASET", "demo")
    with pytest.raises(datasets.DatasetError, match=r"must be an instance of datasets\.base\.Dataset, not str"):
        datasets.load("demo")
    monkeypatch.setattr(module, "DATASET", datasets.load(ROOT / "datasets/cards/pacs.yaml"))
    with pytest.raises(datasets.DatasetError, match="calls itself 'pacs'"):
        datasets.load("demo")
