"""The statistics of a table's rows once their outcomes are there: intervals, tests, ranks, classes. No ray, no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from orchestrator.analysis.aggregate import Table
from orchestrator.analysis.calibration import class_changes
from orchestrator.analysis.intervals import (
    ClassChanges,
    Difference,
    Interval,
    PartDifferences,
    PartIntervals,
    RowStatistics,
    SeenUnseenIntervals,
)
from orchestrator.analysis.linear_cells import seen_unseen_intervals, worst_intervals
from orchestrator.analysis.linear_folds import FoldReferences
from orchestrator.analysis.products import Outcomes
from orchestrator.analysis.row_outcomes import Right, stacked
from orchestrator.analysis.rows import Row
from orchestrator.analysis.statistics import Estimate, PairedBootstrap, holm, rank


def seen_unseen_domains(table: Table) -> tuple[str, str] | None:
    """The domains of seen and of unseen classes; None if it is no such table."""
    scores = [row.by_image for row in table.rows]
    return scores[0].domains if scores and scores[0] is not None else None


class RowNumbers:
    """The statistics of the rows whose outcomes are there: index in the table -> whether each image is right."""

    def __init__(
        self,
        table: Table,
        right: Mapping[int, Right],
        labels: Mapping[str, NDArray[np.int32]],
        said: Mapping[int, RowStatistics],
        folds: FoldReferences,
    ) -> None:
        """`said`: statistics of what the rows said about the images; `folds`: of the columns of a 'source mean'."""
        self.table, self.right, self.labels, self.said, self.folds = table, right, labels, said, folds
        self.parts = {name: part for name, part in (("reference", table.sources), ("shift", table.shifted)) if part}
        self.place = {index: place for place, index in enumerate(right)}
        # A row that was chosen among the others is one of them once more; it would be held against itself.
        self.ranked = {index: place for place, index in enumerate(i for i in right if not table.rows[i].chosen)}
        if not right:
            return
        correct = {domain: stacked(list(right.values()), domain) for domain in labels}
        bootstrap = PairedBootstrap(correct)
        self.ranks = self._ranks(bootstrap, correct)
        self.domains = {domain: _intervals(bootstrap.accuracies([domain])) for domain in labels}
        self.means = {name: _intervals(bootstrap.accuracies(part)) for name, part in self.parts.items()}
        by_seed = {domain: bootstrap.seed_means(domain) for domain in table.shifted}
        self.worst = worst_intervals(correct, by_seed, self.domains)
        self.by_class, self.by_image = self._seen_unseen()
        self.zero_shot, self.baseline = self._index(table.zero_shot), self._index(table.baseline)
        self.by_domain = {} if self.zero_shot is None else self._by_domain(bootstrap, self.place[self.zero_shot])
        self.versus = {
            other: {name: self._tested(other, found) for name, found in self._differences(bootstrap, other).items()}
            for other in (self.zero_shot, self.baseline)
            if other is not None
        }

    def row(self, index: int, beside: Mapping[str, Interval]) -> RowStatistics:
        """`beside`: intervals on datasets of transfer."""
        place, ranked = self.place[index], self.ranked.get(index) if len(self.ranked) > 1 else None
        zero_shot, said, fold = self.zero_shot, self.said[index], self.folds.intervals.get(index)
        return RowStatistics(
            domains={domain: found[place] for domain, found in self.domains.items()} | dict(beside),
            reference=self.means["reference"][place] if "reference" in self.means else fold and fold.accuracy,
            shift=self.means["shift"][place],
            worst=self.worst[place],
            versus_zero_shot={} if index == zero_shot else {d: found[place] for d, found in self.by_domain.items()},
            to_zero_shot=self._compared(index, zero_shot),
            to_baseline=self._compared(index, self.baseline),
            nll=PartIntervals(reference=fold.nll, shift=said.nll.shift) if fold else said.nll,
            ece=PartIntervals(reference=fold.ece, shift=said.ece.shift) if fold else said.ece,
            by_class=self.by_class[place],
            by_image=self.by_image[place],
            rank=None if ranked is None else self.ranks[ranked],
            calibration=said.calibration,
            classes={} if zero_shot is None or zero_shot == index else self._classes(index, zero_shot),
        )

    def _index(self, row: Row | None) -> int | None:
        """Place in the table of a row that has outcomes."""
        return next((index for index in self.right if self.table.rows[index] is row), None)

    def _ranks(self, bootstrap: PairedBootstrap, correct: Mapping[str, Outcomes]) -> list[tuple[int, int]]:
        """Of the rows in `ranked`."""
        if len(self.ranked) < len(self.right):
            places = [self.place[index] for index in self.ranked]
            bootstrap = PairedBootstrap({domain: correct[domain][places] for domain in self.table.shifted})
        return rank(bootstrap, self.table.shifted).intervals

    def _by_domain(self, bootstrap: PairedBootstrap, other: int) -> dict[str, list[Interval]]:
        """Of the difference of all rows to another one on each domain."""
        return {domain: _intervals(bootstrap.differences(other, [domain])) for domain in self.labels}

    def _differences(self, bootstrap: PairedBootstrap, other: int) -> dict[str, list[Difference | None]]:
        """Of all rows to another one, by part."""
        found: dict[str, list[Difference | None]] = {
            name: [
                Difference(low=of.low, high=of.high, p=of.p) for of in bootstrap.differences(self.place[other], part)
            ]
            for name, part in self.parts.items()
        }
        if self.table.leave_one_out:
            found["reference"] = [self.folds.difference(index, other) for index in self.right]
        return found

    def _tested(self, other: int, differences: Sequence[Difference | None]) -> list[Difference | None]:
        """With p-values adjusted for the rows; neither the other row itself nor one that was chosen is a test."""
        tests = {
            place: of.p
            for index, place in self.place.items()
            if index != other and index in self.ranked and (of := differences[place]) is not None and of.p is not None
        }
        adjusted = dict(zip(tests, holm(list(tests.values())), strict=True))
        return [
            of and of.model_copy(update={"adjusted_p": adjusted.get(place)}) for place, of in enumerate(differences)
        ]

    def _compared(self, index: int, other: int | None) -> PartDifferences:
        if other is None or other == index:
            return PartDifferences()
        return PartDifferences(**{name: of[self.place[index]] for name, of in self.versus[other].items()})

    def _seen_unseen(self) -> tuple[list[SeenUnseenIntervals], list[SeenUnseenIntervals]]:
        """By class and by image; empty ones in a table that is not about seen and unseen classes."""
        domains = seen_unseen_domains(self.table)
        if domains is None:
            return [SeenUnseenIntervals()] * len(self.right), [SeenUnseenIntervals()] * len(self.right)
        seen, unseen = domains
        found = seen_unseen_intervals([*self.right.values()], domains, self.labels)
        both = zip(self.domains[seen], self.domains[unseen], found, strict=True)
        pairs = [(of, SeenUnseenIntervals(seen=s, unseen=u, harmonic=h)) for s, u, (of, h) in both]
        return [by_class for by_class, _ in pairs], [by_image for _, by_image in pairs]

    def _classes(self, index: int, zero_shot: int) -> dict[str, ClassChanges]:
        ours, others = self.right[index], self.right[zero_shot]
        return {
            name: class_changes(
                [self.labels[d] for d in part],
                [ours.correct[d] for d in part],
                [others.correct[d] for d in part],
                [ours.shared(others, d) for d in part],
            )
            for name, part in self.parts.items()
        }


def _intervals(estimates: Sequence[Estimate]) -> list[Interval]:
    return [Interval(low=of.low, high=of.high) for of in estimates]
