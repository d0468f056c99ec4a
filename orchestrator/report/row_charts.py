"""Figures with one line for each row of a table: paired differences, and every seed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from orchestrator.analysis.aggregate import Table
from orchestrator.analysis.intervals import Difference, Interval
from orchestrator.analysis.rows import Row
from orchestrator.analysis.series import Series
from orchestrator.report.drawing import (
    NEUTRAL,
    Figure,
    Scale,
    add,
    as_percent,
    escape_html,
    new_figure,
    places,
    row_key,
    styles_of,
)
from orchestrator.report.numbers import interval_text, mean_sd, p_value, percent, points
from orchestrator.report.tables import shift_mean
from orchestrator.report.trend import statistics

MOST_ROWS = 40
"""Rows of a figure with one line for each; with more, variants are left out, then those with the lowest shift mean."""
LINE_HEIGHT, AXIS_HEIGHT = 22, 90
"""Pixels of a row in such a figure, and of its axis."""
LONGEST, LONGEST_NARROW = 32, 18
"""Letters of a name on an axis, and on that of a phone; hovering shows all of it."""


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
        f"difference to {escape_html(short(table.baseline.name))}, points",
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
        escape_html(f"{shift_mean(table)}, %"),
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
    """At most MOST_ROWS of them: without variants, then those with the highest shift mean. Never rows that were chosen among
    the others: they have the same numbers."""
    rows = [row for row in rows if not row.chosen]
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
    """One line for each row, the first at the bottom: its mean and its interval. `title` is of the x-axis, as HTML."""
    figure, styles, scale = new_figure(title, ""), styles_of(table), Scale()
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
            + p_text(limits)
            for row, of, limits in zip(rows, found, ends, strict=True)
        ],
    )
    figure["layout"]["yaxis"] |= {**row_names(figure, rows), "range": [-0.7, len(rows) - 0.3], "showgrid": False}
    # The plot beside the names is small on a phone, and a title in one line would be cut.
    figure["layout"]["meta"]["narrow"]["xaxis"] = {"title": {"text": title.replace(" to ", " to<br>", 1)}}
    figure["layout"]["xaxis"] |= {
        "zeroline": show is points,
        "range": axis_range(found, ends, [0.0] if show is points else []),
        "tickangle": 0,
        "nticks": 6,
    }
    figure["layout"]["height"] = max(220, AXIS_HEIGHT + LINE_HEIGHT * len(rows))
    return figure


def p_text(interval: Interval | None) -> str:
    """A line with the test of a difference: '<br>p = 0.012, with Holm's adjustment p = 0.036'; '' of other intervals."""
    if not isinstance(interval, Difference) or interval.p is None:
        return ""
    adjusted = interval.adjusted_p
    return f"<br>{p_value(interval.p)}" + (
        f", with Holm's adjustment {p_value(adjusted)}" if adjusted is not None else ""
    )


def axis_range(series: Sequence[Series], intervals: Sequence[Interval | None], others: Sequence[float]) -> list[float]:
    """Around all means and seeds, `others`, and intervals but for the ends of those that are far longer than most."""
    values = [100 * value for of in series for value in (*of.values.values(), *others)]
    lengths = [100 * (of.high - of.low) for of in intervals if of]
    ends = [100 * end for of in intervals if of for end in (of.low, of.high)]
    room = max((max(values) - min(values)) / 2, 2.5, median(lengths) if lengths else 0.0)
    low = max(min([*values, *ends]), min(values) - room)
    high = min(max([*values, *ends]), max(values) + room)
    margin = 0.04 * max(high - low, 5.0)
    return [low - margin, high + margin]


def row_names(figure: Figure, rows: Sequence[Row]) -> dict[str, Any]:
    """Names of rows on the y-axis, the first at 0, and shorter ones for narrow screens, which `templates/theme.js` takes."""
    narrow = [escape_html(short(_brief(row), LONGEST_NARROW)) for row in rows]
    figure["layout"]["meta"] = {"narrow": {"yaxis": {"ticktext": narrow, "tickfont": {"size": 11}}}}
    return {"tickvals": list(range(len(rows))), "ticktext": [escape_html(short(row.name)) for row in rows]}


def _brief(row: Row) -> str:
    """'wise_ft/ft 0.5' of 'wise_ft of ft, alpha=0.5'."""
    parts = [f"{row.label}/{row.of}" if row.of else row.label, re.sub(r"[^,=]+=", "", row.variant)]
    return " ".join(filter(None, parts))


def short(text: str, longest: int = LONGEST) -> str:
    """A name for an axis; its end, which tells variants apart, stays."""
    end = longest * 2 // 5
    return text if len(text) <= longest else f"{text[: longest - end - 1]}…{text[-end:]}"
