"""The registry: every dataset is found, loads and is complete; nobody else's `datasets` gets in the way."""

from __future__ import annotations

import importlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import datasets
from datasets.base import Dataset

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(datasets.available())


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
    assert set(NAMES) >= {"demo", "domainnet", "pacs"}
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


@pytest.mark.parametrize("name", NAMES)
def test_every_dataset_loads_and_its_facts_are_complete(name):
    dataset = datasets.load(name)
    info = dataset.info
    assert isinstance(dataset, Dataset) and info.name == name
    for field in ("title", "revision", "source", "license", "citation"):
        assert getattr(info, field).strip(), field
    assert all(template.count("{}") == 1 for template in info.templates)
    assert len(info.classnames) >= 2 and all(classname.strip() == classname != "" for classname in info.classnames)
    assert len(set(info.classnames)) == len(info.classnames)
    assert set(info.counts) == set(info.domains)
    assert all(set(splits) == {"train", "test"} and min(splits.values()) > 0 for splits in info.counts.values())
    assert datasets.available()[name].is_file()


@pytest.mark.parametrize("path", sorted((ROOT / "datasets" / "cards").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_card_has_at_most_fifteen_lines(path):
    assert len(path.read_text().splitlines()) <= 15


def test_an_unknown_name_lists_the_known_and_the_nearest():
    with pytest.raises(
        datasets.DatasetError,
        match=r"unknown dataset 'domanet', did you mean 'domainnet'\? \(known: demo, domainnet, pacs",
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
