"""Real photographs, paintings, cartoons and sketches, from the archive to the page, in small: every stage but Ray."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml

from orchestrator.manifest.read import load_manifest
from orchestrator.planning.plan import make_plans, statuses
from orchestrator.prepare.dataset import prepare
from orchestrator.records import Results, write_plan
from orchestrator.report import build_report
from orchestrator.trials.trial import run_trial
from tests.conftest import ROOT
from training.runtime import Runtime

ARCHIVE = ROOT.parent / "shared/data/pacs-128.tar"
DOMAINS = {"art_painting": 185, "cartoon": 193, "photo": 157, "sketch": 176}
"""and their test images"""


@pytest.mark.skipif(not ARCHIVE.exists(), reason="the PACS archive, whose images are not ours to ship, is not here")
def test_pacs_runs_from_the_archive_to_the_page(tmp_path: Path) -> None:
    prepare("pacs@pacs-128", ARCHIVE, tmp_path / "data/pacs@pacs-128", None)
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
    # One zero-shot, then FT, Lipsum-FT and WiSE-FT on each, for each of the four domains as source; on all four domains.
    assert len(rows) == (1 + 4 * (2 + 2)) * 4
    assert {trial.spec.data.sources for trial in plan.trials} == {(), *((domain,) for domain in DOMAINS)}
    assert {row["domain"]: int(row["num_images"]) for row in rows} == DOMAINS
