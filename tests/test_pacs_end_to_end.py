"""Photographs, paintings, cartoons and sketches, from the archive to the page, in small: every stage but Ray.

Once with the real images, where they are, and everywhere with drawn ones in an archive of exactly that layout.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml

import datasets
from orchestrator.manifest.read import load_manifest
from orchestrator.planning.plan import make_plans, statuses
from orchestrator.prepare.dataset import prepare
from orchestrator.prepare.verify import find, verify
from orchestrator.records import Results, write_plan
from orchestrator.report import build_report
from orchestrator.trials.trial import run_trial
from tests.conftest import ROOT
from tests.datasets.miniature import picture, shrunk, write_tar
from training.runtime import Runtime

REF = "pacs@pacs-128"
ARCHIVE = ROOT.parent / "shared/data/pacs-128.tar"
# As files are called in each domain of the real archive.
NAMES = {"art_painting": "pic_{:03d}", "cartoon": "pic_{:03d}", "photo": "253_{:04d}", "sketch": "12{:03d}"}
DRAWN = {"train": range(1, 4), "test": range(4, 6)}
"""numbers of the images of each domain and class"""


def drawn(folder: Path) -> Path:
    """An archive as pacs-128.tar is: all in one folder, with an entry for each folder, two lists and a file of names."""
    info = datasets.load(REF).info
    lines: dict[str, list[str]] = {split: [] for split in DRAWN}
    content: dict[str, bytes | str] = {}
    for domain in info.domains:
        for label, name in enumerate(info.classnames):
            for split, numbers in DRAWN.items():
                for number in numbers:
                    path = f"{domain}/{name}/{NAMES[domain].format(number)}.jpg"
                    lines[split].append(f"{path} {label}")
                    content[f"pacs/{path}"] = picture(10 * label + number, (128, 128 + number))
    lists = {f"pacs/{split}.txt": "\n".join(rows) + "\n" for split, rows in lines.items()}
    meta = json.dumps({"classes": info.classnames, "domains": info.domains}, indent=1)
    return write_tar(folder / "pacs-128.tar", lists | {"pacs/meta.json": meta} | content)


def small_manifest(folder: Path) -> Path:
    """The shipped benchmark `pacs`, of two steps."""
    shipped = yaml.safe_load((ROOT / "benchmarks.yaml").read_text())
    small = {**shipped["benchmarks"]["pacs"], "recipe": {"lr": 1e-3, "num_steps": 2, "global_batch_size": 16}}
    small["post_hoc"] = {"wise_ft": {"of": ["ft", "lipsum_ft"], "alphas": [0.5]}}
    model = {key: str(ROOT / value) if "/" in value else value for key, value in shipped["models"]["demo_vit"].items()}
    manifest = {
        "results": "results",
        "data": "data",
        "run": ["pacs"],
        "models": {"demo_vit": model},
        "benchmarks": {"pacs": small},
    }
    path = folder / "benchmarks.yaml"
    path.write_text(yaml.safe_dump(manifest))
    return path


@pytest.mark.parametrize("images", ["real", "drawn"])
def test_pacs_runs_from_the_archive_to_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: str) -> None:
    if images == "real" and not ARCHIVE.exists():
        pytest.skip("the PACS archive, whose images are not ours to ship, is not here")
    if images == "drawn":
        classes = len(datasets.load(REF).info.classnames)
        counts = {domain: {split: classes * len(numbers) for split, numbers in DRAWN.items()} for domain in NAMES}
        dataset, load = shrunk(datasets.load(REF), counts), datasets.load
        monkeypatch.setattr(datasets, "load", lambda ref: dataset if str(ref) == REF else load(ref))
    archive = ARCHIVE if images == "real" else drawn(tmp_path)
    prepare(REF, archive, tmp_path / "data" / REF, None)
    info = datasets.load(REF).info
    tested = {domain: splits["test"] for domain, splits in info.counts.items()}
    trained = sum(splits["train"] for splits in info.counts.values())
    attestation = verify(find(REF, tmp_path / "data"), workers=1)
    said = f"4 domains, 7 classes, {trained:,} train and {sum(tested.values()):,} test images in 8 shards, sha256:"
    assert attestation.startswith(f"pacs pacs-128: {said}")

    (plan,) = make_plans(load_manifest(small_manifest(tmp_path)), None)
    results = Results(tmp_path / "results")
    write_plan(results, plan)
    records = [run_trial(trial, results, Runtime(), attempt=1) for trial in plan.trials]

    assert set(statuses([plan], results).values()) == {"done"}
    assert {trial.spec.method for trial in plan.trials} == {"zero_shot", "ft", "lipsum_ft", "wise_ft"}
    page, table = (next(p for p in build_report(results.root) if p.suffix == suffix) for suffix in (".html", ".csv"))
    assert {record.data for record in records} == {attestation}
    assert "PACS" in page.read_text() and attestation.partition(": ")[2] in page.read_text()
    rows = [row for row in csv.DictReader(table.open()) if row["split"] == "test"]
    # One zero-shot, then FT, Lipsum-FT and WiSE-FT on each, for each of the four domains as source; on all four domains.
    assert len(rows) == (1 + 4 * (2 + 2)) * 4
    assert {trial.spec.data.sources for trial in plan.trials} == {(), *((domain,) for domain in tested)}
    assert {row["domain"]: int(row["num_images"]) for row in rows} == tested
