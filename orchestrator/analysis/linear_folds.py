"""Intervals of the reference columns where each domain is held out in turn, from per-image outcomes. No ray, no torch.

The 'source mean' is a mean over folds, of each the mean over its source domains. An image of a domain takes part in it once
for every fold that has the domain as a source, each time seen by another model: its contribution is the sum over those
folds. So the images of a domain have to be the same in all folds of a seed; where seeds have images of their own,
`image_sets` says what each contributes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.analysis.aggregate import Table
from orchestrator.analysis.calibration import binned
from orchestrator.analysis.image_sets import over_union
from orchestrator.analysis.intervals import Difference, Interval
from orchestrator.analysis.linear import FRACTION, Contributions, moments, spans
from orchestrator.analysis.outcome_file import Blocks
from orchestrator.analysis.predictions import PredictionsError
from orchestrator.analysis.row_outcomes import Cell, Cells, RowOutcomes, SharedImages, done_by_seed, unions
from orchestrator.analysis.rows import Row
from orchestrator.records import Results

Mixed = Mapping[str, Contributions]
"""domain -> (1, S, N) of one row, summed over the folds with their shares"""


@dataclass(frozen=True, slots=True)
class _Fold:
    """One fold's outcomes on a domain: its share of the mean, and its cells, one for each seed or one for all."""

    share: float
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class FoldIntervals:
    """Of one row's reference columns."""

    accuracy: Interval | None
    nll: Interval | None
    ece: Interval | None


class FoldReferences:
    """Takes in rows one by one; the contributions to accuracies are kept for differences."""

    def __init__(
        self, results: Results, table: Table, rows: Iterable[int], num_seeds: int, read: Callable[[str], Blocks]
    ) -> None:
        """`rows`: those that may be added; `num_seeds`: how many they share."""
        self._table, self._seeds = table, max(num_seeds, 1)
        make = Cells()
        self._folds = {index: _folds(table.rows[index], table, make) for index in rows} if table.leave_one_out else {}
        asked = [(table.rows[index].name, _cells(folds)) for index, folds in self._folds.items()]
        self._images = SharedImages(results, self._seeds, read, unions(results, asked))
        self._accuracy: dict[int, Mixed] = {}
        self.intervals: dict[int, FoldIntervals] = {}

    def add(self, index: int) -> None:
        """One more row of the table; nothing is known of one whose outcomes are missing or of other images."""
        row = self._table.rows[index]
        folds = self._folds[index]
        whole = all(len(fold.cells) in (1, self._seeds) for of_domain in folds.values() for fold in of_domain)
        if row.reference.mean is None or not whole:
            return
        try:
            own = self._images.row(row.name, _cells(folds))
        except PredictionsError:
            return
        self._accuracy[index] = self._mixed(folds, own, own.correct)
        errors = {domain: self._errors(own, domain) for domain in folds}
        self.intervals[index] = FoldIntervals(
            accuracy=_interval(self._accuracy[index], *FRACTION),
            nll=_interval(self._mixed(folds, own, own.nlls), 0.0),
            ece=_interval(self._mixed(folds, own, errors), *FRACTION),
        )

    def difference(self, index: int, other: int) -> Difference | None:
        """Of a row's source mean to that of another."""
        ours, theirs = self._accuracy.get(index), self._accuracy.get(other)
        if ours is None or theirs is None or ours.keys() != theirs.keys():
            return None
        found = spans([(1.0, moments(of - theirs[domain])) for domain, of in ours.items()])
        [interval], [p] = found.intervals(-1.0, 1.0), found.p_values()
        return None if interval is None else Difference(low=interval.low, high=interval.high, p=p)

    def _errors(self, own: RowOutcomes, domain: str) -> NDArray[np.float32]:
        confidences, correct, inside = own.confidences[domain], own.correct[domain], own.inside.get(domain)
        return binned(confidences, correct, self._table.ece_bins, inside).contributions

    def _mixed(
        self,
        folds: Mapping[str, list[_Fold]],
        own: RowOutcomes,
        outcomes: Mapping[str, NDArray[np.bool_] | NDArray[np.float32]],
    ) -> dict[str, Contributions]:
        """`outcomes` of a domain: (K, N), of the cells of its folds one after another."""
        found = {}
        for domain, of_domain in folds.items():
            values, place = outcomes[domain], 0
            if domain in own.inside:
                values = over_union(values, own.inside[domain])
            mixed = np.zeros((self._seeds, values.shape[1]), dtype=np.float32)
            for fold in of_domain:
                mixed += np.float32(fold.share) * values[place : place + len(fold.cells)]
                place += len(fold.cells)
            found[domain] = mixed[None]
        return found


def _folds(row: Row, table: Table, make: Cells) -> dict[str, list[_Fold]]:
    """Domain -> the folds that have it as a source; those that one trial stands for, which holds for all, are one."""
    done = done_by_seed(row.outcomes)
    shares: dict[str, dict[tuple[Cell, ...], float]] = {}
    for fold in row.folds:
        own = [o for o in done if o.trial.spec.data.sources in ((), fold.sources)]
        for domain in fold.sources:
            cells = tuple(make.own(o, row.variant, domain, table.reference_split) for o in own)
            of_domain = shares.setdefault(domain, {})
            of_domain[cells] = of_domain.get(cells, 0.0) + 1 / len(row.folds) / len(fold.sources)
    return {domain: [_Fold(share, cells) for cells, share in of.items()] for domain, of in shares.items()}


def _cells(folds: Mapping[str, list[_Fold]]) -> dict[str, list[Cell]]:
    return {domain: [cell for fold in of_domain for cell in fold.cells] for domain, of_domain in folds.items()}


def _interval(of: Mixed, least: float, most: float = np.inf) -> Interval | None:
    [found] = spans([(1.0, moments(values)) for values in of.values()]).intervals(least, most)
    return found
