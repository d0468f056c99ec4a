"""The page as a reader has it, without a browser: its text, its size, its header strip."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator.analysis.aggregate import aggregate
from orchestrator.records import Loaded, Results
from orchestrator.report import build_report
from orchestrator.report.header import duration
from orchestrator.report.page import html_text
from orchestrator.spec import PublishedValue
from tests.orchestrator.page_browser import inspected
from tests.orchestrator.record_factory import Folder, demo, incomplete


def test_everything_is_inside_once(tmp_path: Path) -> None:
    html = build_report(demo(sources=("real", "sketch")).write(tmp_path))[0].read_text(encoding="utf-8")
    assert html.count("plotly.js v") == 1
    assert html.count('id="tables-bundle"') == 1
    assert html.count('class="chart"') == 2 * len(("scatter", "domains", "seeds", "cost")) + 1, "and one map"
    ours = re.sub(r"<(style|script)\b.*?</\1>", "", html, flags=re.DOTALL)
    assert re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", ours) == []
    assert len(html) < 7_000_000


def test_the_header_strip_counts(tmp_path: Path) -> None:
    html = build_report(incomplete().write(tmp_path))[0].read_text(encoding="utf-8")
    text = " ".join(re.sub(r"<[^>]+>", " ", re.sub(r"<(style|script)\b.*?</\1>", " ", html, flags=re.DOTALL)).split())
    for part in (
        "Cells done 9 of 13 2 failed, 2 missing, 0 stale",
        "reference_val best accuracy on held-out training images",
        "ddof = 1",
        "Data demo sha256:5f5f5f5f5f5f5f5f; no finished trial attests more",
        "GPU-hours none 1 min",
        "Zero-shot gate no value",
        "a ± b mean ± s.d. over seeds",
        "0123456789ab git commit",
        "0 stale; newest record 2026-01-02 04:",
        "s1 failed: ValueError: loss is not finite at step 31; s2 not run",
        "failed lipsum_ft 1 demo, tiny, real failed: ValueError: loss is not finite at step 31",
        "missing lipsum_ft 2 demo, tiny, real not run",
        "python -m orchestrator run benchmarks.yaml demo",
    ):
        assert part in text


def test_what_trials_attest_of_the_data_is_said_once(tmp_path: Path) -> None:
    folder, line = demo(), "demo 1: 5 domains, 20 classes, 5,000 test images in 5 shards, sha256:" + "5f" * 8
    for id, record in folder.records.items():
        folder.records[id] = record.model_copy(update={"data": line})
    html = build_report(folder.write(tmp_path))[0].read_text(encoding="utf-8")
    assert html.count("sha256:5f5f") == 1
    rest = line.removeprefix("demo 1: ")
    assert f"<dt>Data</dt><dd><strong>demo 1</strong><span>{rest}</span></dd>" in html


def test_no_line_can_be_fitted_to_two_runs(tmp_path: Path) -> None:
    html = build_report(demo(seeds=(0,)).write(tmp_path))[0].read_text(encoding="utf-8")
    assert "No fitted line and no effective robustness: a line needs 3 runs of plain models, here are 2 runs" in html
    assert "fit: slope" not in html
    assert "effective robustness</th>" not in html


def test_a_rule_that_selects_on_what_it_reports_is_marked() -> None:
    folder = demo()
    folder.plan = [
        t.model_copy(update={"spec": t.spec.model_copy(update={"selection": "reference_test"})}) if t.spec.recipe else t
        for t in folder.plan
    ]
    html = html_text(aggregate(folder.plans(), Loaded(records=folder.records)))
    assert "selects on the split that is reported" in html


def test_many_failures_are_cut_on_the_page_and_counted() -> None:
    folder = Folder()
    folder.done(folder.trial("zero_shot", kind="reference"), (50, 60, 40, 50, 50))
    for seed in range(250):
        folder.trial("ft", seed)
    html = html_text(aggregate(folder.plans(), Loaded(records=folder.records)))
    assert "50 more are in leaderboard.csv" in html
    assert html.count('<td class="missing">') == 200


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (750, "12 min 30 s"), (12_000, "3 h 20 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_header_tells_the_zero_shot_gate_and_rows_show_the_end_of_their_logs(tmp_path: Path) -> None:
    folder = demo()
    gate = next(i for i, trial in enumerate(folder.plan) if trial.kind == "reference")
    value = PublishedValue(domain="real", accuracy=0.55, source="a paper")

    def page() -> str:
        build_report(folder.write(tmp_path))
        return (tmp_path / "leaderboard.html").read_text()

    assert "no published accuracy under this protocol" in page()
    folder.plan[gate] = folder.plan[gate].model_copy(update={"expected": (value,)})
    log = Results(tmp_path).trial(folder.plan[gate].id) / "log.txt"
    log.write_text("first\nsecond\nthird <b>\nlast\n")
    passed = page()
    assert "within 0.3 points of 1 published accuracy" in passed
    assert "third <b>" not in passed
    logs = [seed["log"] for row in inspected(passed) for seed in row["seeds"]]
    assert logs.count(["second", "third <b>", "last"]) == 1, "the end of it, as data"
    id = folder.plan[gate].id
    folder.records[id] = folder.records[id].model_copy(update={"warnings": ("real is off",)})
    assert "differs from published accuracies, see below" in page()
    del folder.records[id]
    Results(tmp_path).record(id).unlink()
    assert "1 of 1 trials are not done" in page()
