"""The queries of docs/results.md run as they stand there and give what they say."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from orchestrator.analysis.aggregate import aggregate
from orchestrator.analysis.costs import COSTS
from orchestrator.analysis.predictions import read_predictions
from orchestrator.analysis.transfer_intervals import TRANSFER_MEAN
from orchestrator.records import Evaluation, Loaded, TrialRecord
from orchestrator.report.export import CSV_COLUMNS, ROWS_COLUMNS, rows_csv_text
from orchestrator.report.seen_unseen import SCORES
from tests.conftest import ROOT
from tests.orchestrator.outcome_factory import write_results
from tests.orchestrator.record_factory import demo

DOCUMENT = (ROOT / "docs" / "results.md").read_text()
QUERIES = re.findall(r"```python\n(.*?)```", DOCUMENT, flags=re.DOTALL)


@pytest.fixture
def printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    write_results(tmp_path / "results", {"ft": 0.6})
    monkeypatch.chdir(tmp_path)
    lines = []
    for query in QUERIES:
        exec(compile(query, "docs/results.md", "exec"), {})
        lines.append(capsys.readouterr().out.splitlines())
    return lines


def test_the_queries_answer(printed: list[list[str]], tmp_path: Path) -> None:
    never, accuracies, confused = printed
    paths = sorted(tmp_path.glob("results/trials/*/predictions.parquet"))
    ft = [read_predictions(path, "", "sketch") for path in paths if path.parent.name.startswith("ft-")]
    wrong = sum(not any(right) for right in zip(*(one.correct for one in ft), strict=True))
    assert never[0].startswith(f"{wrong} of 1000 images: ['sketch/k")
    assert len(accuracies) == len(paths) * 5
    first = read_predictions(paths[0], "", "sketch").correct.mean()
    assert f"{paths[0].parent.name}  sketch {round(100 * first, 1)}" in accuracies
    # Class 0 is never right for ft and always taken for 1: 100 images in each of five domains.
    assert confused[0] == "class 0 taken for 1: 500 times"


def test_every_field_of_a_record_is_documented() -> None:
    table = DOCUMENT.partition("## record.json")[2].partition("## predictions.parquet")[0]
    assert [name for name in TrialRecord.model_fields if f"`{name}`" not in table] == []


def test_every_column_and_quantity_of_the_tables_is_documented() -> None:
    table = DOCUMENT.partition("## leaderboard-rows.csv")[2].partition("## leaderboard.csv")
    assert [name for name in CSV_COLUMNS if f"`{name}`" not in table[2].partition("## Queries")[0]] == []
    assert [name for name in ROWS_COLUMNS if f"`{name}`" not in table[0]] == []
    quantities = {
        row[5] for row in csv.reader(rows_csv_text(aggregate(demo().plans(), Loaded(demo().records))).splitlines())
    }
    quantities -= {"quantity"}
    assert "effective robustness" in quantities and len(quantities) > 20
    named = "|".join(re.escape(name) for name in re.findall(r"`([^`]+)`", table[0]))
    pattern = re.sub(r"<\w+>", ".+", named.replace("\\", ""))
    assert [name for name in quantities if not re.fullmatch(pattern, name)] == []
    others = [
        TRANSFER_MEAN,
        "rank by shift mean",
        *(cost.words for cost in COSTS),
        *(f"`{score.title}`" for score in SCORES),
    ]
    assert [name for name in others if name not in table[0]] == []


def test_every_metric_of_a_record_is_defined() -> None:
    defined = (ROOT / "docs" / "metrics.md").read_text()
    counts = {"variant", "domain", "split", "num_images", "num_correct"}
    assert [name for name in Evaluation.model_fields if name not in counts and f"record `{name}`" not in defined] == []
