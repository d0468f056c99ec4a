"""Intervals of a view: those of our own per-image outcomes, each column's from its own trials."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orchestrator.analysis.predictions import read_predictions
from orchestrator.analysis.statistics import PairedBootstrap
from orchestrator.records import Results
from orchestrator.views.intervals import Bootstrap
from orchestrator.views.text import markdown
from tests.orchestrator import view_factory as make
from tests.orchestrator.test_views import fill, line, ours


def test_intervals_are_those_of_the_outcomes(tmp_path: Path) -> None:
    results = make.folder()
    trials = [make.trial(results, "car_ft", seed, make.CAR_FT) for seed in range(3)]
    folder = Results(tmp_path)
    for planned in trials:
        make.outcomes(folder, planned, 0.6)
        accuracies = [
            100 * read_predictions(folder.trial(planned.id) / "predictions.parquet", "", domain).correct.mean()
            for domain in results.domains
        ]
        make.done(results, planned, accuracies)
    found = line(fill(results, tmp_path), "CAR-FT")
    for column, domains in ((1, ["painting"]), (5, list(results.domains[1:]))):
        outcomes = {
            d: np.stack([read_predictions(folder.trial(t.id) / "predictions.parquet", "", d).correct for t in trials])[
                None
            ]
            for d in results.domains
        }
        estimate = PairedBootstrap(outcomes).accuracy(0, domains)
        cell = found.cells[column]
        assert cell.published and cell.bounds and cell.difference
        low, high = (100 * bound - cell.published.mean for bound in (estimate.low, estimate.high))
        assert low < 100 * estimate.value - cell.published.mean < high
        assert cell.bounds == (pytest.approx(low), pytest.approx(high))
    assert "[" in markdown(fill(results, tmp_path)).split("| CAR-FT |")[1].split("\n")[0]
    (folder.trial(trials[1].id) / "predictions.parquet").unlink()
    without = line(fill(results, tmp_path), "CAR-FT")
    assert ours(without) == ours(found) and {cell.bounds for cell in without.cells} == {None}


def test_each_column_has_the_interval_of_its_own_trials(tmp_path: Path) -> None:
    """Columns of one row about two datasets, both of which call a domain 'sketch'."""
    results, folder = make.folder(), Results(tmp_path)
    good, bad = (make.trial(results, "car_ft", seed, make.CAR_FT) for seed in (0, 1))
    make.outcomes(folder, good, 0.9)
    make.outcomes(folder, bad, 0.3)
    bootstrap = Bootstrap(folder)
    for planned in (good, bad):
        bootstrap.add([(planned.id, "")], ("sketch",))
    bootstrap.end_row()
    found = bootstrap.intervals()
    assert set(found) == {(0, 0), (0, 1)}
    assert 85 < found[0, 0][0] < found[0, 0][1] < 95 and 20 < found[0, 1][0] < found[0, 1][1] < 40
