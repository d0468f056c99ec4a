"""Intervals of the accuracies on datasets that nothing was trained on, from per-image outcomes. No ray, no torch.

Each dataset is bootstrapped by itself, as `statistics` does it, over the rows that have all its outcomes: not every
predictor can be given heads for other classes, and a row without them must not take the others' intervals away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from orchestrator.analysis.aggregate import Table
from orchestrator.analysis.intervals import Interval
from orchestrator.analysis.linear import FRACTION, moments, spans
from orchestrator.analysis.predictions import PredictionsError
from orchestrator.analysis.products import Outcomes, together
from orchestrator.analysis.read_ahead import OfLastRow, ReadAhead
from orchestrator.analysis.row_outcomes import Cell, Cells, SharedImages, done_by_seed
from orchestrator.analysis.rows import Row
from orchestrator.analysis.statistics import PairedBootstrap
from orchestrator.records import Results

TRANSFER_MEAN = "transfer mean"
"""Key of the interval of the mean over datasets, beside those of single ones."""


def transfer_intervals(
    results: Results, table: Table, rows: Iterable[int], num_seeds: int
) -> dict[int, dict[str, Interval]]:
    """Row -> result of transfer -> its 95 % interval; nothing where outcomes are missing or of other images.

    `rows`: those that share the table's `num_seeds` seeds.
    """
    outcomes = _outcomes(results, table, list(rows), num_seeds)
    found: dict[int, dict[str, Interval]] = {}
    groups: dict[str, dict[str, float]] = {place: {place: 1.0} for place in table.transfer}
    if len(table.transfer) > 1:
        groups[TRANSFER_MEAN] = _shares(table.transfer)
    for name, shares in groups.items():
        for index, interval in _intervals(outcomes, shares).items():
            found.setdefault(index, {})[name] = interval
    return found


def _shares(places: Sequence[str]) -> dict[str, float]:
    """Of each place in the mean over datasets, of each the mean over its domains ('<dataset>:<domain>')."""
    datasets = [place.partition(":")[0] for place in places]
    return {
        place: 1 / len(set(datasets)) / datasets.count(dataset) for place, dataset in zip(places, datasets, strict=True)
    }


def _outcomes(results: Results, table: Table, rows: Sequence[int], num_seeds: int) -> dict[str, dict[int, Outcomes]]:
    """Place -> row -> (S, N) whether it is right; each file is read once for all places, ahead of its turn."""
    make = Cells()
    cells = {index: {place: _cells(table.rows[index], place, make) for place in table.transfer} for index in rows}
    trials = (cell.trial for by_place in cells.values() for of_place in by_place.values() for cell in of_place)
    found: dict[str, dict[int, Outcomes]] = {place: {} for place in table.transfer}
    with ReadAhead(results, trials) as files:
        read = OfLastRow(files)
        images = {place: SharedImages(results, max(num_seeds, 1), read) for place in table.transfer}
        for index, by_place in cells.items():
            row = table.rows[index]
            read.only({cell.trial for of_place in by_place.values() for cell in of_place})
            for place in table.transfer:
                if row.transfer[place].mean is None:
                    continue
                try:
                    correct = images[place].row(row.name, {place: by_place[place]}).correct[place]
                except PredictionsError:
                    continue
                found[place][index] = _over_folds(correct, max(num_seeds, 1)) if table.leave_one_out else correct
    return found


def _over_folds(correct: NDArray[np.bool_], num_seeds: int) -> NDArray[np.float32]:
    """(S, N) means over the folds, which follow one another seed by seed."""
    found: NDArray[np.float32] = correct.reshape(num_seeds, -1, correct.shape[1]).mean(axis=1, dtype=np.float32)
    return found


def _cells(row: Row, place: str, make: Cells) -> list[Cell]:
    return [make.transfer(o, row.variant, place) for o in done_by_seed(row.outcomes)]


def _intervals(outcomes: Mapping[str, Mapping[int, Outcomes]], shares: Mapping[str, float]) -> dict[int, Interval]:
    """Of the mean by these shares, for the rows that have all places."""
    first, *_ = places = tuple(shares)
    rows = [index for index in outcomes[first] if all(index in outcomes[place] for place in places)]
    if not rows:
        return {}
    correct = {p: together([outcomes[p][index] for index in rows]) for p in places}
    if len(set(shares.values())) > 1:  # draws are made for places that count the same
        parts = [(shares[p], moments(found.astype(np.float32))) for p, found in correct.items()]
        intervals = spans(parts).intervals(*FRACTION)
        return {index: interval for index, interval in zip(rows, intervals, strict=True) if interval is not None}
    estimates = zip(rows, PairedBootstrap(correct).accuracies(places), strict=True)
    return {index: Interval(low=found.low, high=found.high) for index, found in estimates}
