"""A record and per-image outcomes that are not those it was made from are never shown side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orchestrator.analysis.compare import compare, pick, sides
from orchestrator.analysis.intervals import RowStatistics
from orchestrator.analysis.outcome_file import Counts, check_of_record
from orchestrator.analysis.predictions import PredictionsError
from orchestrator.analysis.rebinning import rebinned
from orchestrator.records import Results, load_plans, load_records, read_record, write_record
from orchestrator.report import build_report, read_board
from orchestrator.trials.outcomes import write_predictions
from tests.orchestrator.outcome_factory import guesses, write_results
from tests.orchestrator.record_factory import DOMAINS, NUM_IMAGES

RATES = {"zero_shot": 0.6, "ft": 0.5, "better": 0.9, "soup": 0.52}


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return write_results(tmp_path, RATES)


def statistics(results: Results) -> dict[str, RowStatistics]:
    (table,) = read_board(results.root).tables
    assert table.statistics is not None
    return {row.name: found for row, found in zip(table.rows, table.statistics.rows, strict=True)}


def of_another_run(results: Results, num_images: int = NUM_IMAGES) -> str:
    """Outcomes of seed 1 of `better` take the place of those its record was made from; returns the trial's id."""
    (trial,) = [t.id for t in load_plans(results)[0].trials if (t.label, t.spec.seed) == ("better", 1)]
    labels = np.arange(num_images) % 10
    found = {("", d, "test"): guesses([f"{d}/k{i}" for i in range(num_images)], labels, labels < 5) for d in DOMAINS}
    write_predictions(results.trial(trial) / "predictions.parquet", found)
    return trial


@pytest.mark.parametrize("num_images", [NUM_IMAGES, 200])
def test_the_row_has_no_interval_and_the_reason_is_shown(results: Results, num_images: int) -> None:
    before = statistics(results)
    assert all(found.why == "" for found in before.values())
    trial = of_another_run(results, num_images)
    recorded = read_record(results.record(trial)).evaluations[0].num_correct
    found = statistics(results)
    said = f"{num_images // 2:,} of {num_images:,} right, recorded {recorded:,} of 1,000 right"
    assert found["better"].why == f"predictions.parquet is not of this record ({trial}, real/test: {said})"
    assert found["better"].shift is None and found["better"].rank is None
    assert found["ft"].shift == before["ft"].shift, "the others stay as they are"
    _, markdown, *_ = build_report(results.root)
    assert "predictions.parquet is not of this record" in markdown.read_text(encoding="utf-8")


def test_a_record_that_changed_is_noticed_although_the_file_is_the_same(results: Results) -> None:
    statistics(results)
    (trial,) = [t.id for t in load_plans(results)[0].trials if t.label == "zero_shot"]
    record = read_record(results.record(trial))
    one = record.evaluations[2]
    one = one.model_copy(update={"num_correct": one.num_correct + 1})
    write_record(
        results, record.model_copy(update={"evaluations": (*record.evaluations[:2], one, *record.evaluations[3:])})
    )
    assert f"({trial}, {one.domain}/test: " in statistics(results)["zero_shot"].why


def test_rows_are_not_compared_by_them(results: Results) -> None:
    known = list(sides(load_plans(results), load_records(results)))
    better, ft = pick(known, "better", "ft", None, None, None)
    assert compare(results, better, ft)
    trial = of_another_run(results)
    with pytest.raises(
        PredictionsError, match=rf"predictions.parquet is not of this record \({trial}, real/test: 500 of"
    ):
        compare(results, better, ft)


def test_no_calibration_error_is_computed_from_them(results: Results) -> None:
    trial = of_another_run(results)
    for bins in (15, 7, 7):  # of records without ECE, in other bins, and from the cache
        found = rebinned(results, load_records(results), bins)
        assert {id for id, record in found.records.items() if record.evaluations[0].ece is None} == {trial}
        assert found.no_ece[trial].startswith(
            f"no ECE in {bins} bins: predictions.parquet is not of this record ({trial}, "
        )


def test_what_no_record_says_is_not_checked() -> None:
    check_of_record("t", ("", "real", "val"), Counts(3, 1), None)
    with pytest.raises(PredictionsError, match=r"\(t, alpha=0.5 on real/val: 1 of 3 right, recorded 2 of 3 right\)"):
        check_of_record("t", ("alpha=0.5", "real", "val"), Counts(3, 1), Counts(3, 2))
