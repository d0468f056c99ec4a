"""Intervals of the accuracies on datasets that nothing was trained on, from per-image outcomes. No ray, no torch.

Each dataset is bootstrapped by itself, as `statistics` does it, over the rows that have all its outcomes: not every
predictor can be given heads for other classes, and a row without them must not take the others' intervals away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from orchestrator.analysis.aggregate import Table
from orchestrator.analysis.intervals import Interval
from orchestrator.analysis.predictions import PredictionsError
from orchestrator.analysis.row_outcomes import Cell, RowOutcomes, SharedImages
from orchestrator.analysis.rows import Row
from orchestrator.analysis.statistics import PairedBootstrap
from orchestrator.records import Results

TRANSFER_MEAN = "transfer mean"
"""Key of the interval of the mean over datasets, beside those of single ones."""


def transfer_intervals(
    results: Results, table: Table, rows: Iterable[int], num_seeds: int
) -> dict[int, dict[str, Interval]]:
    """Row -> result of transfer -> its 95 % interval; nothing where outcomes are missing or of other images.

    `rows`: those that share the table's `num_seeds` seeds. The mean has an interval where every dataset has one domain.
    """
    chosen = list(rows)
    found: dict[int, dict[str, Interval]] = {}
    single = not any(":" in place for place in table.transfer)
    for place in table.transfer:
        _add(found, results, table, chosen, [place], num_seeds, place)
    if single and len(table.transfer) > 1:
        _add(found, results, table, chosen, table.transfer, num_seeds, TRANSFER_MEAN)
    return found


def _add(
    found: dict[int, dict[str, Interval]],
    results: Results,
    table: Table,
    rows: Iterable[int],
    places: Iterable[str],
    num_seeds: int,
    name: str,
) -> None:
    images, outcomes = SharedImages(results, max(num_seeds, 1)), {}
    for index in rows:
        row = table.rows[index]
        if all(row.transfer[place].mean is not None for place in places):
            try:
                outcomes[index] = images.row(row.name, {place: _cells(row, place) for place in places})
            except PredictionsError:
                continue
    for index, interval in _intervals(outcomes, tuple(places)).items():
        found.setdefault(index, {})[name] = interval


def _cells(row: Row, place: str) -> list[Cell]:
    done = sorted((o.trial for o in row.outcomes if o.status == "done"), key=lambda trial: trial.spec.seed)
    return [Cell(trial.id, (row.variant, place, "test")) for trial in done]


def _intervals(outcomes: Mapping[int, RowOutcomes], places: tuple[str, ...]) -> dict[int, Interval]:
    if not outcomes:
        return {}
    bootstrap = PairedBootstrap({p: np.stack([of.correct[p] for of in outcomes.values()]) for p in places})
    estimates = {index: bootstrap.accuracy(place, places) for place, index in enumerate(outcomes)}
    return {index: Interval(low=found.low, high=found.high) for index, found in estimates.items()}
