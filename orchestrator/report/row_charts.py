"""Figures with one line for each row of a table: paired differences, and every seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orchestrator.analysis.aggregate import Table
from orchestrator.analysis.intervals import Interval
from orchestrator.analysis.rows import Row
from orchestrator.analysis.series import Series
from orchestrator.report.drawing import (
    NEUTRAL,
    Figure,
    Scale,
    add,
    around,
    as_percent,
    escape_html,
    new_figure,
    places,
    row_key,
    styles_of,
)
from orchestrator.report.numbers import interval_text, mean_sd, percent, points
from orchestrator.report.tables import shift_mean
from orchestrator.report.trend import statistics

MOST_ROWS = 40
"""Rows of a figure with one line for each; with more, variants are left out, then those with the lowest shift mean."""
LINE_HEIGHT, AXIS_HEIGHT = 22, 90
"""Pixels of a row in such a figure, and of its axis."""
LONGEST = 30
"""Letters of a name on an axis; hovering shows all of it."""


def forest(table: Table) -> Figure | None:
    """Differences to the baseline on the shift mean with their intervals; None where no row has one."""
    if table.baseline is None:
        return None
    intervals = {
        id(row): interval
        for index, row in enumerate(table.rows)
        if (interval := statistics(table, index).to_baseline.shift) is not None
    }
    chosen = [row for row in table.rows if id(row) in intervals]
    versus = {id(row): table.to_baseline[index].shift for index, row in enumerate(table.rows)}
    shown = sorted(shortened(chosen), key=lambda row: versus[id(row)].mean or 0.0)
    if not shown:
        return None
    return _by_row(
        table,
        shown,
        f"difference to {_short(table.baseline.name)}, points",
        lambda row: versus[id(row)],
        lambda row: intervals[id(row)],
        points,
    )


def every_seed(table: Table) -> Figure | None:
    """The shift mean of each seed as a dot, rows by their mean; None where no row has several seeds."""
    shown = [row for row in table.rows if row.shift.mean is not None]
    if not any(row.shift.n > 1 for row in shown):
        return None
    shown = sorted(shortened(shown), key=lambda row: row.shift.mean or 0.0)
    where = places(table)
    figure = _by_row(
        table,
        shown,
        f"{shift_mean(table)}, %",
        lambda row: row.shift,
        lambda row: statistics(table, where[id(row)]).shift,
        percent,
    )
    dots = [(y, row, seed) for y, row in enumerate(shown) for seed in row.shift.values if row.shift.n > 1]
    styles = styles_of(table)
    add(
        figure,
        x=[as_percent(row.shift.values[seed]) for _, row, seed in dots],
        y=[y for y, _, _ in dots],
        mode="markers",
        marker={
            "color": [styles[row_key(row)]["colour"] if row is not table.zero_shot else NEUTRAL for _, row, _ in dots],
            "size": 7,
            "symbol": "circle-open",
        },
        showlegend=False,
        hoverinfo="text",
        hovertext=[
            f"<b>{escape_html(row.name)}</b>, seed {seed}<br>{percent(row.shift.values[seed])}" for _, row, seed in dots
        ],
    )
    return figure


def shortened(rows: Sequence[Row]) -> list[Row]:
    """At most MOST_ROWS of them: without variants, then those with the highest shift mean."""
    if len(rows) > MOST_ROWS:
        rows = [row for row in rows if not row.variant]
    return sorted(rows, key=lambda row: -(row.shift.mean or 0.0))[:MOST_ROWS]


def _by_row(
    table: Table,
    rows: Sequence[Row],
    title: str,
    series: Callable[[Row], Series],
    interval: Callable[[Row], Interval | None],
    show: Callable[[float], str],
) -> Figure:
    """One line for each row, the first at the bottom: its mean and its interval."""
    figure, styles, scale = new_figure(escape_html(title), ""), styles_of(table), Scale()
    found = [series(row) for row in rows]
    ends = [interval(row) for row in rows]
    colours = [NEUTRAL if row is table.zero_shot else styles[row_key(row)]["colour"] for row in rows]
    symbols = ["star" if row is table.zero_shot else styles[row_key(row)]["symbol"] for row in rows]
    for y, (limits, colour) in enumerate(zip(ends, colours, strict=True)):
        # plotly has one colour for all error bars of a trace.
        if limits is not None:
            low, high = scale.at(limits.low), scale.at(limits.high)
            line = {"color": colour, "width": 2}
            add(figure, x=[low, high], y=[y, y], mode="lines", line=line, showlegend=False, hoverinfo="skip")
    add(
        figure,
        x=[as_percent(of.mean) for of in found],
        y=list(range(len(rows))),
        mode="markers",
        marker={"color": colours, "symbol": symbols, "size": 10},
        showlegend=False,
        hoverinfo="text",
        hovertext=[
            f"<b>{escape_html(row.name)}</b><br>{mean_sd(of, show, percent)} {interval_text(limits, show)}".rstrip()
            for row, of, limits in zip(rows, found, ends, strict=True)
        ],
    )
    figure["layout"]["yaxis"] |= {
        "tickvals": list(range(len(rows))),
        "ticktext": [escape_html(_short(row.name)) for row in rows],
        "range": [-0.7, len(rows) - 0.3],
        "showgrid": False,
    }
    figure["layout"]["xaxis"] |= {
        "zeroline": show is points,
        "range": around(found, ends),
        "tickangle": 0,
        "nticks": 6,
    }
    figure["layout"]["height"] = max(220, AXIS_HEIGHT + LINE_HEIGHT * len(rows))
    return figure


def _short(text: str) -> str:
    """A name for an axis; its end, which tells variants apart, stays."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 13]}…{text[-12:]}"
