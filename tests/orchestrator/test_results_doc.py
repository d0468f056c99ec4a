"""The queries of docs/results.md run as they stand there and give what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator.analysis.predictions import read_predictions
from orchestrator.records import Evaluation, TrialRecord
from tests.conftest import ROOT
from tests.orchestrator.outcome_factory import write_results

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


def test_every_metric_of_a_record_is_defined() -> None:
    defined = (ROOT / "docs" / "metrics.md").read_text()
    counts = {"variant", "domain", "split", "num_images", "num_correct"}
    assert [name for name in Evaluation.model_fields if name not in counts and f"record `{name}`" not in defined] == []
