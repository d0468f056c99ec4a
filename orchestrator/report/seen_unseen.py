"""The numbers of generalised zero-shot learning that a table of seen and unseen classes shows: S, U and H, in two ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from orchestrator.analysis.intervals import Interval, RowStatistics, SeenUnseenIntervals
from orchestrator.analysis.rows import Row, SeenUnseen
from orchestrator.analysis.series import Series


@dataclass(frozen=True, slots=True)
class Score:
    """One of them."""

    title: str
    """'S', 'U' or 'H'"""
    way: str
    """what counts the same: 'by class' or 'by image'"""
    of: Callable[[Row], SeenUnseen | None]
    pick: Callable[[SeenUnseen], Series]
    interval: Callable[[RowStatistics], Interval | None]

    def series(self, row: Row) -> Series:
        """Of a row; empty in a table that is not about seen and unseen classes."""
        found = self.of(row)
        return self.pick(found) if found else Series({}, absent="not a table of seen and unseen classes")


def _scores(
    way: str, of: Callable[[Row], SeenUnseen | None], found: Callable[[RowStatistics], SeenUnseenIntervals]
) -> Iterator[Score]:
    yield Score("S", way, of, lambda scores: scores.seen, lambda row: found(row).seen)
    yield Score("U", way, of, lambda scores: scores.unseen, lambda row: found(row).unseen)
    yield Score("H", way, of, lambda scores: scores.harmonic, lambda row: found(row).harmonic)


SCORES = (
    *_scores("by class", lambda row: row.by_class, lambda found: found.by_class),
    *_scores("by image", lambda row: row.by_image, lambda found: found.by_image),
)
