"""Runs a miniature of a published dataset through every stage but Ray: prepare, verify, plan, a trial, the report.

A test builds archives with the names, the layout and the quirks of the published ones and a handful of tiny images in them
(`picture`, `write_zip`, `write_tar`), says how many images it put where, and calls `run_miniature` with the dataset as it
is in production. Only facts about quantity are changed: `shrunk` gives a copy whose counts are those of the miniature and
that has one prompt template, so that a text head of 1,000 classes takes a second.
"""

from __future__ import annotations

import copy
import csv
import dataclasses
import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import scipy.io
import yaml
from PIL import Image

import datasets
from datasets.base import Dataset
from datasets.shards import Prepared, index_shard, open_prepared, write_prepared
from orchestrator.manifest.read import load_manifest
from orchestrator.planning.plan import make_plans, statuses
from orchestrator.prepare.verify import verify
from orchestrator.records import Results, TrialRecord, write_plan
from orchestrator.report import build_report
from orchestrator.trials.trial import run_trial
from training.runtime import Runtime

Counts = Mapping[str, Mapping[str, int]]

RECIPE = {"lr": 1e-3, "num_steps": 1, "global_batch_size": 4, "eval_every": 1, "warmup_fraction": 0.0}


@dataclass(frozen=True)
class Ran:
    """What came out of each stage."""

    prepared: Prepared
    attestation: str
    results: Results
    records: tuple[TrialRecord, ...]
    rows: tuple[dict[str, str], ...]
    """of the report's table"""
    page: str
    transfer: Mapping[str, Prepared]
    """by name: what the models were also evaluated on"""

    def labels(self, domain: str, split: str) -> dict[str, int]:
        """Key -> label of the images of a split, in the shards' order."""
        return labels(self.prepared, domain, split)

    def images(self, domain: str, split: str) -> dict[str, Image.Image]:
        """Key -> decoded image of a split."""
        return images(self.prepared, domain, split)


def labels(prepared: Prepared, domain: str, split: str) -> dict[str, int]:
    """Key -> label of the images of a split, in the shards' order."""
    shards = prepared.select(domain, split)
    return {sample.key: sample.label for shard in shards for sample in index_shard(prepared.path(shard))}


def images(prepared: Prepared, domain: str, split: str) -> dict[str, Image.Image]:
    """Key -> decoded image of a split."""
    found: dict[str, Image.Image] = {}
    for shard in prepared.select(domain, split):
        path = prepared.path(shard)
        data = path.read_bytes()
        for sample in index_shard(path):
            found[sample.key] = Image.open(io.BytesIO(data[sample.offset : sample.offset + sample.size]))
    return found


def shrunk(dataset: Dataset, counts: Counts) -> Dataset:
    """A copy of a dataset whose card says the counts of its miniature; everything else is as in production."""
    small = copy.copy(dataset)
    small.info = dataclasses.replace(
        dataset.info,
        counts=counts,
        class_counts={},
        templates=dataset.info.templates[:1],
    )
    # Sizes and checksums are those of the published archives. The miniature's archives have the same names.
    small.files = tuple(dataclasses.replace(file, bytes=None, checksum=None) for file in dataset.files)
    return small


def prepare_miniature(
    ref: str, source: Path | None, counts: Counts, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Prepared, str]:
    """Prepare a dataset's miniature below `folder`/data and verify it; (the dataset, its attestation).

    From here on `datasets.load` gives the dataset with the counts of the miniature.
    """
    dataset = shrunk(datasets.load(ref), counts)
    real_load = datasets.load
    monkeypatch.setattr(datasets, "load", lambda asked: dataset if str(asked) == ref else real_load(asked))
    to = folder / "data" / datasets.folder_name(ref)
    write_prepared(dataset, to, source, domains=tuple(counts))
    prepared = open_prepared(to)
    attestation = verify(prepared, workers=1)
    found = {domain: {s: sum(n) for s, n in splits.items() if sum(n)} for domain, splits in prepared.counts.items()}
    assert found == {domain: {s: n for s, n in splits.items() if n} for domain, splits in counts.items()}
    return prepared, attestation


def run_miniature(
    ref: str,
    source: Path | None,
    counts: Counts,
    folder: Path,
    tiny_config: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    sources: Sequence[str] = (),
    targets: Sequence[str] = (),
    transfer: Mapping[str, tuple[Path, Counts]] | None = None,
    benchmark: Mapping[str, Any] | None = None,
) -> Ran:
    """Take a dataset's miniature from the archives in `source` to the page; everything is written below `folder`.

    `counts`: the domains to prepare and the images the miniature has of them, domain -> split -> images. One trial of `ft`
    for the `sources`, evaluated on `targets` (default: the prepared domains that have a test split) and on the datasets of
    `transfer`, name -> (source, counts). `benchmark` adds to the manifest's entry, replaces keys of it, or removes those
    that it has None for.
    """
    prepared, attestation = prepare_miniature(ref, source, counts, folder, monkeypatch)
    others = {
        name: prepare_miniature(name, there, of_it, folder, monkeypatch)[0]
        for name, (there, of_it) in (transfer or {}).items()
    }
    entry: dict[str, Any] = {
        "dataset": ref,
        "models": ["tiny"],
        "sources": list(sources),
        "targets": list(targets) or [domain for domain, splits in counts.items() if splits.get("test")],
        "val_fraction": 0.4,
        "seeds": [0],
        "recipe": RECIPE,
        "methods": {"ft": {}},
        **({"transfer": list(others)} if others else {}),
        **(benchmark or {}),
    }
    manifest = {
        "results": "results",
        "data": "data",
        "models": {"tiny": {"name": "tiny_clip", "config": str(tiny_config), "pretrained": "random"}},
        "benchmarks": {"miniature": {key: value for key, value in entry.items() if value is not None}},
    }
    path = folder / "benchmarks.yaml"
    path.write_text(yaml.safe_dump(manifest))
    (plan,) = make_plans(load_manifest(path), ["miniature"])
    results = Results(folder / "results")
    write_plan(results, plan)
    records = tuple(run_trial(trial, results, Runtime(), attempt=1) for trial in plan.trials)
    assert set(statuses([plan], results).values()) == {"done"}

    pages = build_report(results.root)
    page, table = (next(p for p in pages if p.suffix == suffix) for suffix in (".html", ".csv"))
    with table.open() as file:
        rows = tuple(csv.DictReader(file))
    assert {row["domain"] for row in rows if row["split"] == "test"} >= set(entry["targets"])
    return Ran(prepared, attestation, results, records, rows, page.read_text(), others)


def picture(number: int, size: tuple[int, int] = (24, 20), form: str = "JPEG", mode: str = "RGB") -> bytes:
    """An encoded picture of one colour that depends on `number`; `mode` is that of PIL ('L', 'CMYK', ...)."""
    colour = (number * 37 % 256, number * 91 % 256, number * 53 % 256)
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).convert(mode).save(buffer, form)
    return buffer.getvalue()


def write_zip(path: Path, content: Mapping[str, bytes | str]) -> Path:
    """A zip of these files, with an entry for each folder, as Info-ZIP makes them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for folder in _folders(content):
            archive.writestr(f"{folder}/", b"")
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def write_tar(path: Path, content: Mapping[str, bytes | str], prefix: str = "") -> Path:
    """A tar of these files, compressed if it is called so, with an entry for each folder; `prefix` may be './'."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar_bytes(content, prefix, compressed=path.name.endswith((".tgz", ".tar.gz"))))
    return path


def tar_bytes(content: Mapping[str, bytes | str], prefix: str = "", compressed: bool = False) -> bytes:
    """The bytes of a tar of these files; tars of tars are made with it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz" if compressed else "w") as archive:
        for folder in _folders(content):
            member = tarfile.TarInfo(prefix + folder)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(member)
        for name, data in content.items():
            data = data.encode() if isinstance(data, str) else data
            member = tarfile.TarInfo(prefix + name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def mat(**variables: object) -> bytes:
    """A MATLAB file of version 5 with these variables."""
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, variables)
    return buffer.getvalue()


def write_files(folder: Path, content: Mapping[str, bytes | str]) -> Path:
    """The same as plain files: an archive that was unpacked."""
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


def _folders(content: Mapping[str, bytes | str]) -> list[str]:
    return sorted({str(parent) for name in content for parent in Path(name).parents if str(parent) != "."})
