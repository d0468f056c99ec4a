"""Intervals of the accuracies on datasets that nothing was trained on, from per-image outcomes. No ray, no torch.

Each dataset is bootstrapped by itself, as `statistics` does it, over the rows that have all its outcomes: not every
predictor can be given heads for other classes, and a row without them must not take the others' intervals away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set

import numpy as np

from orchestrator.analysis.aggregate import Table
from orchestrator.analysis.intervals import Interval
from orchestrator.analysis.outcome_file import Blocks
from orchestrator.analysis.predictions import PredictionsError
from orchestrator.analysis.row_outcomes import Cell, ReadAhead, SharedImages
from orchestrator.analysis.rows import Row
from orchestrator.analysis.statistics import Correct, PairedBootstrap
from orchestrator.records import Results

TRANSFER_MEAN = "transfer mean"
"""Key of the interval of the mean over datasets, beside those of single ones."""


def transfer_intervals(
    results: Results, table: Table, rows: Iterable[int], num_seeds: int
) -> dict[int, dict[str, Interval]]:
    """Row -> result of transfer -> its 95 % interval; nothing where outcomes are missing or of other images.

    `rows`: those that share the table's `num_seeds` seeds. The mean has an interval where every dataset has one domain.
    """
    outcomes = _outcomes(results, table, list(rows), num_seeds)
    found: dict[int, dict[str, Interval]] = {}
    groups: dict[str, tuple[str, ...]] = {place: (place,) for place in table.transfer}
    if len(table.transfer) > 1 and not any(":" in place for place in table.transfer):
        groups[TRANSFER_MEAN] = table.transfer
    for name, places in groups.items():
        for index, interval in _intervals(outcomes, places).items():
            found.setdefault(index, {})[name] = interval
    return found


def _outcomes(results: Results, table: Table, rows: Sequence[int], num_seeds: int) -> dict[str, dict[int, Correct]]:
    """Place -> row -> (S, N) whether it is right; each file is read once for all places, ahead of its turn."""
    cells = {index: {place: _cells(table.rows[index], place) for place in table.transfer} for index in rows}
    trials = (cell.trial for by_place in cells.values() for of_place in by_place.values() for cell in of_place)
    found: dict[str, dict[int, Correct]] = {place: {} for place in table.transfer}
    with ReadAhead(results, trials) as files:
        read = _OfLastRow(files)
        images = {place: SharedImages(results, max(num_seeds, 1), read) for place in table.transfer}
        for index, by_place in cells.items():
            row = table.rows[index]
            read.only({cell.trial for of_place in by_place.values() for cell in of_place})
            for place in table.transfer:
                if row.transfer[place].mean is None:
                    continue
                try:
                    found[place][index] = images[place].row(row.name, {place: by_place[place]}).correct[place]
                except PredictionsError:
                    continue
    return found


class _OfLastRow:
    """Reads files through another reader and keeps those of one row, whose places and variants follow one another."""

    def __init__(self, files: ReadAhead) -> None:
        self._files = files
        self._kept: dict[str, Blocks] = {}

    def only(self, trials: Set[str]) -> None:
        """Forget all others."""
        self._kept = {trial: blocks for trial, blocks in self._kept.items() if trial in trials}

    def __call__(self, trial: str) -> Blocks:
        if trial not in self._kept:
            self._kept[trial] = self._files.take(trial)
        return self._kept[trial]


def _cells(row: Row, place: str) -> list[Cell]:
    done = sorted((o.trial for o in row.outcomes if o.status == "done"), key=lambda trial: trial.spec.seed)
    return [Cell(trial.id, (row.variant, place, "test")) for trial in done]


def _intervals(outcomes: Mapping[str, Mapping[int, Correct]], places: tuple[str, ...]) -> dict[int, Interval]:
    """Of the rows that have all places."""
    rows = [index for index in outcomes[places[0]] if all(index in outcomes[place] for place in places)]
    if not rows:
        return {}
    bootstrap = PairedBootstrap({p: np.stack([outcomes[p][index] for index in rows]) for p in places})
    estimates = zip(rows, bootstrap.accuracies(places), strict=True)
    return {index: Interval(low=found.low, high=found.high) for index, found in estimates}
