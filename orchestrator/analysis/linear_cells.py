"""Intervals of the worst domain and of S, U and H, from what rows are right about. No ray, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from orchestrator.analysis.intervals import Interval, SeenUnseenIntervals
from orchestrator.analysis.linear import (
    FRACTION,
    Contributions,
    in_worst,
    moments,
    of_classes,
    of_classes_over_union,
    of_harmonic,
    spans,
)
from orchestrator.analysis.linear_rows import CHUNK
from orchestrator.analysis.products import Floats, Outcomes
from orchestrator.analysis.row_outcomes import Right, stacked


def worst_intervals(
    correct: Mapping[str, Outcomes], by_seed: Mapping[str, Floats], intervals: Mapping[str, Sequence[Interval]]
) -> list[Interval | None]:
    """Of the lowest accuracy of each seed over the domains of `by_seed`, mean over the seeds, for M rows.

    A row whose worst domain is that of every seed has the interval of it. `by_seed`: (M, S) accuracies on each domain;
    `intervals`: those of the rows on each.
    """
    domains = list(by_seed)
    worst = np.stack([by_seed[domain] for domain in domains]).argmin(axis=0)
    found: list[Interval | None] = [intervals[domains[of[0]]][row] for row, of in enumerate(worst)]
    changing = np.flatnonzero((worst != worst[:, :1]).any(axis=1))
    for some in _chunks(changing, sum(correct[domain][0].size for domain in domains)):
        # A domain that is nobody's worst contributes nothing.
        here = [(place, domain) for place, domain in enumerate(domains) if (worst[some] == place).any()]
        parts = [(1.0, moments(in_worst(correct[domain][some], worst[some] == place))) for place, domain in here]
        for row, interval in zip(some.tolist(), spans(parts).intervals(*FRACTION), strict=True):
            found[row] = interval
    return found


def seen_unseen_intervals(
    rows: Sequence[Right], domains: tuple[str, str], labels: Mapping[str, NDArray[np.int32]]
) -> Iterator[tuple[SeenUnseenIntervals, Interval | None]]:
    """For each row by class S, U and H, and by image H; the others are accuracies on a domain.

    `domains`: of the seen and of the unseen classes, with the labels of both. Nothing by class where a class has one image.
    """
    for some in _chunks(np.arange(len(rows)), sum(rows[0].correct[domain].size for domain in domains)):
        own = [rows[index] for index in some]
        seen, unseen = (stacked(own, domain).astype(np.float32, copy=False) for domain in domains)
        by_image = _harmonic(seen, unseen)
        classes = [_by_class(own, domain, labels[domain]) for domain in domains]
        each = [
            [None] * len(some) if of is None else spans([(1.0, moments(of))]).intervals(*FRACTION) for of in classes
        ]
        first, second = classes
        both = [None] * len(some) if first is None or second is None else _harmonic(first, second)
        by_class = (SeenUnseenIntervals(seen=s, unseen=u, harmonic=h) for s, u, h in zip(*each, both, strict=True))
        yield from zip(by_class, by_image, strict=True)


def _by_class(rows: Sequence[Right], domain: str, labels: NDArray[np.int32]) -> Contributions | None:
    correct = np.stack([row.correct[domain] for row in rows])
    if domain not in rows[0].inside:
        return of_classes(correct, labels)
    return of_classes_over_union(correct, labels, np.stack([row.inside[domain] for row in rows]))


def _harmonic(seen: Contributions, unseen: Contributions) -> list[Interval | None]:
    return spans([(0.5, moments(of)) for of in of_harmonic(seen, unseen)]).intervals(*FRACTION)


def _chunks(rows: NDArray[np.intp], outcomes: int) -> Iterator[NDArray[np.intp]]:
    """Rows of so many outcomes each, some at a time."""
    step = max(1, CHUNK // outcomes)
    yield from (rows[start : start + step] for start in range(0, len(rows), step))
