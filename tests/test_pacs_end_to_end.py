"""Real photographs, paintings, cartoons and sketches, from the archive to the page, in small: every stage but Ray."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml

from orchestrator.manifest import load_manifest
from orchestrator.plan import make_plans, statuses
from orchestrator.prepare import prepare
from orchestrator.records import Results, write_plan
from orchestrator.report import build_report
from orchestrator.trial import run_trial
from tests.conftest import ROOT
from training.runtime import Runtime

ARCHIVE = ROOT.parent / "shared/data/pacs-128.tar"


@pytest.mark.skipif(not ARCHIVE.exists(), reason="the PACS archive, whose images are not ours to ship, is not here")
def test_pacs_runs_from_the_archive_to_the_page(tmp_path: Path) -> None:
    prepare("pacs", ARCHIVE, tmp_path / "data/pacs", None)
    shipped = yaml.safe_load((ROOT / "benchmarks.yaml").read_text())
    small = {**shipped["benchmarks"]["pacs"], "recipe": {"lr": 1e-3, "num_steps": 2, "global_batch_size": 16}}
    model = {key: str(ROOT / value) if "/" in value else value for key, value in shipped["models"]["demo_vit"].items()}
    manifest = {
        "results": "results",
        "data": "data",
        "run": ["pacs"],
        "models": {"demo_vit": model},
        "benchmarks": {"pacs": small},
    }
    (tmp_path / "benchmarks.yaml").write_text(yaml.safe_dump(manifest))

    (plan,) = make_plans(load_manifest(tmp_path / "benchmarks.yaml"), None)
    results = Results(tmp_path / "results")
    write_plan(results, plan)
    for trial in plan.trials:
        run_trial(trial, results, Runtime(), attempt=1)

    assert set(statuses([plan], results).values()) == {"done"}
    assert {trial.spec.method for trial in plan.trials} == {"zero_shot", "ft", "lipsum_ft", "wise_ft"}
    page, table = (next(p for p in build_report(results.root) if p.suffix == suffix) for suffix in (".html", ".csv"))
    assert "PACS" in page.read_text()
    rows = [row for row in csv.DictReader(table.open()) if row["split"] == "test"]
    # One zero-shot, then FT, Lipsum-FT and three alphas of WiSE-FT on each, for two sources; on all four domains.
    assert len(rows) == (1 + 2 * (2 + 2 * 3)) * 4
    tested = {row["domain"]: int(row["num_images"]) for row in rows}
    assert tested == {"photo": 157, "art_painting": 185, "cartoon": 193, "sketch": 176}
