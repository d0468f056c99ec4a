"""Intervals of our accuracies over seeds and images, for all rows of a panel from the same draws. No ray, no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from orchestrator.analysis.statistics import PairedBootstrap
from orchestrator.records import Results

Predictor = tuple[str, str]
"""trial id, variant"""
Asked = tuple[tuple[Predictor, ...], tuple[str, ...]]
"""the finished trials of a row, the domains that its accuracy is the mean over"""
Outcomes = dict[tuple[str, str], NDArray[np.bool_]]
"""(variant, domain) -> whether each image is right"""


@dataclass(frozen=True, slots=True)
class _Source:
    """What the columns of a row that are about the same trials are computed from."""

    row: int
    predictors: tuple[Predictor, ...]
    correct: Mapping[str, NDArray[np.bool_]]
    """domain -> (S, N): whether each of N images is right under each of S predictors"""


@dataclass
class Bootstrap:
    """Collects what a panel asks for, row by row and column by column, then draws once for all rows alike."""

    results: Results
    asked: list[list[Asked]] = field(default_factory=lambda: [[]])
    _files: dict[str, Outcomes] = field(default_factory=dict)

    def add(self, predictors: Sequence[Predictor], domains: tuple[str, ...]) -> None:
        """The next column of the row; without predictors it has no interval."""
        self.asked[-1].append((tuple(predictors), domains))

    def end_row(self) -> None:
        """The next `add` is of the next row."""
        self.asked.append([])

    def intervals(self) -> dict[tuple[int, int], tuple[float, float]]:
        """(row, column) -> the 95 % interval in percent; left out where outcomes are missing or do not fit together."""
        groups: dict[tuple[object, ...], list[_Source]] = {}
        for row, columns in enumerate(self.asked):
            # The columns of a row may be about several datasets, whose domains may have the same names.
            for predictors in dict.fromkeys(predictors for predictors, _ in columns if predictors):
                domains = dict.fromkeys(d for own, of_column in columns if own == predictors for d in of_column)
                found = {domain: self._stack(predictors, domain) for domain in domains}
                correct = {domain: stacked for domain, stacked in found.items() if stacked is not None}
                if correct:
                    shape = tuple((domain, *stacked.shape) for domain, stacked in correct.items())
                    groups.setdefault(shape, []).append(_Source(row, predictors, correct))
        intervals: dict[tuple[int, int], tuple[float, float]] = {}
        for sources in groups.values():
            intervals |= self._of_group(sources)
        return intervals

    def _of_group(self, sources: Sequence[_Source]) -> dict[tuple[int, int], tuple[float, float]]:
        domains = list(sources[0].correct)
        bootstrap = PairedBootstrap({domain: np.stack([s.correct[domain] for s in sources]) for domain in domains})
        intervals = {}
        for place, source in enumerate(sources):
            for column, (predictors, of_column) in enumerate(self.asked[source.row]):
                if predictors == source.predictors and set(of_column) <= set(domains):
                    estimate = bootstrap.accuracy(place, of_column)
                    intervals[source.row, column] = 100 * estimate.low, 100 * estimate.high
        return intervals

    def _stack(self, predictors: Sequence[Predictor], domain: str) -> NDArray[np.bool_] | None:
        """(S, N); None if a file is missing or the trials are about different images."""
        rows = [self._read(trial).get((variant, domain)) for trial, variant in predictors]
        known = [row for row in rows if row is not None]
        if not known or len(known) < len(rows) or len({len(row) for row in known}) > 1:
            return None
        return np.stack(known)

    def _read(self, trial: str) -> Outcomes:
        """The outcomes of all variants and domains on test images, a file once; empty if it is not there."""
        if trial not in self._files:
            path = self.results.trial(trial) / "predictions.parquet"
            columns = ["variant", "domain", "correct"]
            try:
                table = pq.read_table(path, columns=columns, filters=[("split", "=", "test")])
            except (FileNotFoundError, pa.ArrowException, OSError):
                table = pa.table({name: pa.array([], pa.string()) for name in columns})
            self._files[trial] = _by_place(table)
        return self._files[trial]


def _by_place(table: pa.Table) -> Outcomes:
    correct = table.column("correct").to_numpy()
    variants, domains = (np.asarray(table.column(name).to_pylist(), dtype=object) for name in ("variant", "domain"))
    places = dict.fromkeys(zip(variants.tolist(), domains.tolist(), strict=True))
    return {
        (variant, domain): correct[(variants == variant) & (domains == domain)].astype(bool)
        for variant, domain in places
    }
