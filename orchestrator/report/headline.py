"""What a table says first: sentences above it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from orchestrator.analysis.aggregate import Table
from orchestrator.analysis.intervals import Interval
from orchestrator.analysis.series import Series
from orchestrator.report.drawing import places
from orchestrator.report.numbers import interval_text, mean_sd, percent, points
from orchestrator.report.tables import STRICTER, shift_mean
from orchestrator.report.trend import statistics


def headline(table: Table) -> str:
    """What plain fine-tuning did to the zero-shot model, and which row keeps most; '' without a zero-shot model."""
    return " ".join(_sentences(table)) if table.zero_shot is not None else ""


def captions(table: Table) -> Iterator[str]:
    """How a table is ordered and coloured."""
    if table.shifted and len(table.rows) > 2:
        first = f"{table.zero_shot.name} first" if table.zero_shot is not None else "the highest first"
        yield f"Rows by {shift_mean(table)}, {first}."
    if table.statistics is None or not table.statistics.has_intervals:
        return
    yield "Differences have a colour where their 95 % interval excludes 0."
    if table.statistics.num_ranked > 1:
        yield STRICTER


def _sentences(table: Table) -> Iterator[str]:
    zero_shot = table.zero_shot
    if zero_shot is None:
        return
    where = places(table)
    if table.baseline is not None:
        index = where[id(table.baseline)]
        versus, found = table.to_zero_shot[index], statistics(table, index).to_zero_shot
        if versus.reference.mean is not None and versus.shift.mean is not None:
            kind = "held-out" if table.leave_one_out else "shifted"
            yield (
                f"Against {zero_shot.name}, {table.baseline.name} is at {_number(versus.reference, found.reference, points)} "
                f"points on {table.over} and at {_number(versus.shift, found.shift, points)} points on the mean of the {kind} "
                "domains."
            )
    gained = [index for index in range(len(table.rows)) if _gains(table, index)]
    if gained:
        best = max(gained, key=lambda index: table.rows[index].shift.mean or 0.0)
        row, interval = table.rows[best], statistics(table, best).shift
        yield (
            f"Best {shift_mean(table)} among rows that gain on {table.over}: {row.name}, "
            f"{_number(row.shift, interval, percent)} %."
        )


def _gains(table: Table, index: int) -> bool:
    """Whether a row is better than zero-shot on the reference domains, surely so where it has an interval."""
    row, mean = table.rows[index], table.to_zero_shot[index].reference.mean
    if mean is None or row.shift.mean is None or row.chosen:
        return False
    interval = statistics(table, index).to_zero_shot.reference
    return (interval.low if interval else mean) > 0


def _number(series: Series, interval: Interval | None, show: Callable[[float], str]) -> str:
    return f"{mean_sd(series, show, percent)} {interval_text(interval, show)}".rstrip()
