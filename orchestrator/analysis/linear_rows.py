"""Intervals of NLL and ECE and calibration curves, from what rows said about their images. No ray, no torch.

Rows come one by one as they are read and are worked on several at a time. Confidences and NLLs are then forgotten: of
thousands of rows only what is right can stay in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from orchestrator.analysis.aggregate import Table
from orchestrator.analysis.calibration import Binned, binned, curve
from orchestrator.analysis.image_sets import Inside, over_union
from orchestrator.analysis.intervals import Interval, PartIntervals, RowStatistics
from orchestrator.analysis.linear import FRACTION, Moments, moments, spans
from orchestrator.analysis.predictions import PredictionsError
from orchestrator.analysis.row_outcomes import RowOutcomes

CHUNK = 2**18
"""Outcomes that are worked on at a time: they stay in a processor's cache, and a call of numpy does not cost much of them."""


class SaidStatistics:
    """Statistics of a table's rows that are about confidences and NLLs; index of a row -> its outcomes."""

    def __init__(self, table: Table) -> None:
        self._parts = {name: part for name, part in (("reference", table.sources), ("shift", table.shifted)) if part}
        self._bins = table.ece_bins
        self._waiting: dict[int, RowOutcomes] = {}
        self._found: dict[int, RowStatistics] = {}

    def add(self, index: int, row: RowOutcomes) -> None:
        """The outcomes of one more row. Raises PredictionsError for confidences outside [0, 1]."""
        for domain, found in row.confidences.items():
            if not (found.min() >= 0 and found.max() <= 1):
                raise PredictionsError(f"its confidences on {domain} are not all in [0, 1]")
        self._waiting[index] = row
        if sum(found.size for found in row.correct.values()) * len(self._waiting) >= CHUNK:
            self._work()

    def finish(self) -> dict[int, RowStatistics]:
        """Of all rows, NLL, ECE and calibration alone."""
        if self._waiting:
            self._work()
        return self._found

    def _work(self) -> None:
        rows, self._waiting = self._waiting, {}
        nll, ece, bins = dict[str, Moments](), dict[str, Moments](), dict[str, Binned]()
        for domain in next(iter(rows.values())).correct:
            confidences = np.stack([row.confidences[domain] for row in rows.values()])
            correct = np.stack([row.correct[domain] for row in rows.values()])
            nlls = np.stack([row.nlls[domain] for row in rows.values()])
            inside = _inside(rows.values(), domain)
            flat, has = (-1, confidences.shape[2]), None if inside is None else inside.reshape(-1, inside.shape[2])
            bins[domain] = binned(confidences.reshape(flat), correct.reshape(flat), self._bins, has)
            errors = bins[domain].contributions.reshape(confidences.shape)
            ece[domain] = moments(errors if inside is None else over_union(errors, inside))
            nll[domain] = moments(nlls if inside is None else over_union(nlls, inside))
        of_nll, of_ece = self._intervals(nll, 0.0), self._intervals(ece, *FRACTION)
        for place, index in enumerate(rows):
            seeds = next(iter(nll.values())).by_seed.shape[1]
            own = slice(place * seeds, (place + 1) * seeds)
            self._found[index] = RowStatistics(
                nll=PartIntervals(**{name: found[place] for name, found in of_nll.items()}),
                ece=PartIntervals(**{name: found[place] for name, found in of_ece.items()}),
                calibration={name: curve([bins[d] for d in part], own) for name, part in self._parts.items()},
            )

    def _intervals(
        self, of: Mapping[str, Moments], least: float, most: float = np.inf
    ) -> dict[str, list[Interval | None]]:
        """By part of the domains."""
        return {
            name: spans([(1 / len(part), of[domain]) for domain in part]).intervals(least, most)
            for name, part in self._parts.items()
        }


def _inside(rows: Iterable[RowOutcomes], domain: str) -> Inside | None:
    """(R, S, N) whether a seed has an image; None where all have all. It is one or the other for a whole table."""
    found = [row.inside[domain] for row in rows if domain in row.inside]
    return np.stack(found) if found else None
