"""A tiny dataset, model and manifest for the tests of manifest, plan and command line."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest
from PIL import Image

import datasets
from datasets.base import Dataset, DatasetInfo, Entry, Published
from orchestrator.manifest.read import ManifestError, load_manifest
from tests.conftest import ROOT

DOMAINS = ("real", "painting", "sketch")


class TinyDataset(Dataset):
    info = DatasetInfo(
        name="tiny",
        title="Tiny",
        revision="1",
        domains=DOMAINS,
        classnames=("cat", "dog"),
        templates=("a {}",),
        source="https://example.org/tiny",
        license="none",
        citation="none",
        counts={domain: {"train": 20, "test": 4} for domain in DOMAINS},
    )
    generated = True

    def entries(self, domain: str, split: str, source: Published | None) -> Sequence[Entry]:
        return [Entry(f"{i:03d}", i % 2, f"{domain}/{i}") for i in range(self.info.counts[domain].get(split, 0))]

    def read(self, entry: Entry, source: Published | None) -> tuple[bytes, str]:
        domain, _, index = entry.path.partition("/")
        image = io.BytesIO()
        Image.new("RGB", (8, 8), (int(index) * 10, self.info.domains.index(domain) * 50, 0)).save(image, "JPEG")
        return image.getvalue(), "jpg"


class PublishedDataset(TinyDataset):
    generated = False


class PartsDataset(TinyDataset):
    """Domains with both splits, with one of them, and one that is optional; its classes have two-word names."""

    info = replace(
        TinyDataset.info,
        name="parts",
        domains=("real", "painting", "shift", "pool", "quick"),
        classnames=("big_cat", "dog"),
        counts={
            "real": {"train": 20, "test": 4},
            "painting": {"train": 10, "test": 5},
            "shift": {"test": 6},
            "pool": {"train": 10},
            "quick": {"train": 20, "test": 4},
        },
        optional_domains=("pool", "quick"),
        seen_unseen=("real", "shift"),
    )


BASE = """\
models:
  vit: {name: vit, config: vit.json, pretrained: vit.safetensors}
benchmarks:
  main:
    dataset: tiny
    models: [vit]
    sources: [real]
    seeds: [0, 1]
    recipe: {num_steps: 10, global_batch_size: 4, eval_every: 4}
    methods:
      zero_shot: {}
      ft: {}
      lipsum_ft: {strength: [0.5, 2.0]}
    post_hoc:
      wise_ft: {of: [ft, lipsum_ft], alphas: [0.5]}
"""

SOUP = """\
from typing import ClassVar
from methods.base import PostHoc

class Soup(PostHoc):
    title: ClassVar[str] = "Soup"
    paper: ClassVar[str] = "none"
    many: ClassVar[bool] = True
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with model files and `plugins/soup.py`, in which the datasets of this file exist."""
    real_load = datasets.load
    known = {"tiny": TinyDataset(), "published": PublishedDataset(), "parts": PartsDataset()}
    monkeypatch.setattr(datasets, "load", lambda name: known.get(str(name)) or real_load(name))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vit.json").write_text(json.dumps({"embed_dim": 8, "vision_cfg": {}, "text_cfg": {}}))
    (tmp_path / "vit.safetensors").write_bytes(b"weights")
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "soup.py").write_text(SOUP)
    return tmp_path


def write(text: str, name: str = "benchmarks.yaml") -> Path:
    """Write a manifest into the current folder, which the fixture `folder` makes; returns its relative path."""
    assert Path.cwd() != ROOT, "this test needs the fixture `folder`: the project's own manifest is not to be written"
    path = Path(name)
    path.write_text(dedent(text), encoding="utf-8")
    return path


def changed(old: str, new: str, text: str = BASE) -> str:
    """`text` with `old`, which must be in it exactly once, replaced."""
    assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in the text"
    return text.replace(old, new)


def problems(text: str) -> list[str]:
    """What is wrong with a manifest."""
    with pytest.raises(ManifestError) as caught:
        load_manifest(write(text))
    return caught.value.problems
