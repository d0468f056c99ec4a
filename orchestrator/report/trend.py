"""Effective robustness of a table's rows: how far each lies above the line of the table's own plain models.

The line's points are runs: the zero-shot model, and every seed of what is trained with the method and the settings of the
baseline, whatever its recipe (learning rates, steps). Everything else is judged by it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from orchestrator.analysis.aggregate import Table
from orchestrator.analysis.intervals import Interval, RowStatistics
from orchestrator.analysis.robustness import MIN_POINTS, Line, fit_line
from orchestrator.analysis.rows import Row
from orchestrator.analysis.series import Series, combine

MIN_ROWS = 4
"""Distinct rows from which on R^2 and band of a line say something about it."""
NO_STATISTICS = RowStatistics(why="per-image outcomes were not read")


def statistics(table: Table, index: int) -> RowStatistics:
    """Intervals of a row; without any if the table has no statistics."""
    return table.statistics.rows[index] if table.statistics else NO_STATISTICS


@dataclass(frozen=True, slots=True)
class Trend:
    """The line of a table, or why it has none."""

    line: Line | None
    names: tuple[str, ...] = ()
    """rows whose runs are its points"""
    why: str = ""

    @property
    def chord(self) -> str:
        """What to know of a line through few distinct rows, whose seeds lie close together; '' of more, or without a line."""
        if self.line is None or len(self.names) >= MIN_ROWS:
            return ""
        return (
            f"The line is a chord through {len(self.names)} rows: its R\N{SUPERSCRIPT TWO} and its band are of seeds that lie "
            "close together and say little about other models"
        )

    def robustness(self, row: Row) -> Series:
        """Accuracy under shift beyond what the line expects of each seed, as fractions."""
        if self.line is None:
            return Series({}, absent=self.why)
        line = self.line
        if not all(0 < value < 1 for value in row.reference.values.values()):
            return Series({}, absent="a reference accuracy of 0 or 1 has no logit")
        return combine(lambda pair: line.effective_robustness(pair[0], pair[1]), row.reference, row.shift)

    def interval(self, row: Row, found: RowStatistics) -> Interval | None:
        """95 %, from those of the row and of the line by MOVER (Zou and Donner, Statistics in Medicine 27, 2008).

        For a difference of two estimates t1 in [l1, u1] and t2 in [l2, u2] it is t1 - t2 with the ends
        - sqrt((t1 - l1)^2 + (u2 - t2)^2) and + sqrt((u1 - t1)^2 + (t2 - l2)^2); t2, what the line expects, has two
        independent parts, the line's band and the row's reference accuracy. That rows share seeds and images is not used,
        so it is rather too wide. None without intervals of the row.
        """
        mean = self.robustness(row).mean
        reference, shift = found.reference, found.shift
        if self.line is None or mean is None or reference is None or shift is None:
            return None
        at, height = row.reference.mean or 0.0, row.shift.mean or 0.0
        middle, (below, above) = self.line.expected(at), self.line.band(at)
        moved = [self.line.expected(min(max(end, 1e-6), 1 - 1e-6)) - middle for end in (reference.low, reference.high)]
        low = math.hypot(height - shift.low, above - middle, max(0.0, *moved))
        high = math.hypot(shift.high - height, middle - below, min(0.0, *moved))
        return Interval(low=mean - low, high=mean + high)


def trend(table: Table) -> Trend:
    """Fit the line of a table."""
    if table.baseline is None or not table.shifted:
        return Trend(None, why="no plain fine-tuning to fit a line to")
    rows = [row for row in table.rows if row is table.zero_shot or _is_plain(row, table.baseline)]
    rows = [row for row in rows if not row.chosen]
    runs = [
        (row.reference.values[seed], row.shift.values[seed])
        for row in rows
        for seed in sorted(set(row.reference.values) & set(row.shift.values))
    ]
    names = tuple(row.name for row in rows)
    if len(runs) < MIN_POINTS:
        have = f"{len(runs)} run{'' if len(runs) == 1 else 's'} of {' and '.join(names[:4])}"
        return Trend(None, names, f"a line needs {MIN_POINTS} runs of plain models, here are {have}")
    try:
        return Trend(fit_line([x for x, _ in runs], [y for _, y in runs]), names)
    except ValueError as error:
        return Trend(None, names, str(error))


def _is_plain(row: Row, baseline: Row) -> bool:
    """Whether a row is trained as the baseline is, recipes aside."""
    if row is baseline:
        return True
    if (
        row.kind != "trained"
        or row.variant
        or row.method != baseline.method
        or not row.outcomes
        or not baseline.outcomes
    ):
        return False
    return row.outcomes[0].trial.spec.settings == baseline.outcomes[0].trial.spec.settings
