"""Figures of a table that need more than means: intervals, single seeds, costs, confidences, or several tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from orchestrator.aggregate import Table
from orchestrator.intervals import Interval
from orchestrator.report.drawing import (
    COLOURS,
    NEUTRAL,
    PLOT_HEIGHT,
    Figure,
    Scale,
    add,
    as_percent,
    escape_html,
    make_room,
    new_figure,
    on_path,
    row_key,
    styles_of,
)
from orchestrator.report.tables import (
    amount,
    interval_text,
    mean_sd,
    percent,
    points,
    shift_mean,
    statistics,
)
from orchestrator.rows import Row
from orchestrator.series import Series

MOST_ROWS = 40
"""Rows of a figure with one line for each; with more, variants are left out, then those with the lowest shift mean."""
LINE_HEIGHT, AXIS_HEIGHT = 22, 90
"""Pixels of a row in such a figure, and of its axis."""
LONGEST = 30
"""Letters of a name on an axis; hovering shows all of it."""
MOST_CURVES, FIRST_CURVES = 12, 4
"""Calibration curves in a figure, and those that are not hidden at first."""
MOST_MAPS = 8
"""Methods to choose from in the map of sources and targets."""


def forest(table: Table) -> Figure | None:
    """Differences to the baseline on the shift mean with their intervals; None where no row has one."""
    if table.baseline is None:
        return None
    rows = [
        (row, interval)
        for index, row in enumerate(table.rows)
        if (interval := statistics(table, index).to_baseline.shift) is not None
    ]
    chosen = [row for row, _ in rows]
    intervals = dict(zip(map(id, chosen), (interval for _, interval in rows), strict=True))
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
    places = {id(row): index for index, row in enumerate(table.rows)}
    figure = _by_row(
        table,
        shown,
        f"{shift_mean(table)}, %",
        lambda row: row.shift,
        lambda row: statistics(table, places[id(row)]).shift,
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
        "range": _around(found, ends),
        "tickangle": 0,
        "nticks": 6,
    }
    figure["layout"]["height"] = max(220, AXIS_HEIGHT + LINE_HEIGHT * len(rows))
    return figure


def _short(text: str) -> str:
    """A name for an axis; its end, which tells variants apart, stays."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 13]}…{text[-12:]}"


def _around(series: Sequence[Series], intervals: Sequence[Interval | None]) -> list[float]:
    """An axis around all means and seeds; an interval may run out of it by half its length."""
    values = [100 * value for of in series for value in of.values.values()]
    low, high = min(values), max(values)
    spread = max(high - low, 5.0)
    ends = [100 * end for limits in intervals if limits for end in (limits.low, limits.high)]
    low = max(min([low, *ends]), low - spread / 2)
    high = min(max([high, *ends]), high + spread / 2)
    return [low - 0.04 * spread, high + 0.04 * spread]


def cost(table: Table) -> Figure | None:
    """Training cost, on a logarithmic axis, against the shift mean; None where fewer than two rows have both."""
    on_gpus = any(row.gpu_hours.mean is not None for row in table.rows)
    series: dict[int, Series] = {i: row.gpu_hours if on_gpus else row.train_seconds for i, row in enumerate(table.rows)}
    shown = [
        (index, row)
        for index, row in enumerate(table.rows)
        if row.shift.mean is not None and (series[index].mean or 0) > 0
    ]
    if len(shown) < 2:
        return None
    unit = "GPU-hours" if on_gpus else "seconds"
    figure = new_figure(f"training of one seed, {unit}", f"{shift_mean(table)}, %")
    styles, scale = styles_of(table), Scale()
    for index, row in shown:
        style, spent = styles[row_key(row)], series[index]
        add(
            figure,
            x=[spent.mean],
            y=[as_percent(row.shift.mean)],
            error_y=scale.bars([row.shift], [statistics(table, index).shift], style["colour"]),
            mode="markers",
            marker={"color": style["colour"], "symbol": style["symbol"], "size": 12},
            name=escape_html(row.name),
            hoverinfo="text",
            hovertext=[
                f"<b>{escape_html(row.name)}</b><br>{mean_sd(spent, amount, amount)} {unit}, "
                f"{shift_mean(table)} {mean_sd(row.shift, percent, percent)}"
            ],
        )
    logs = [math.log10(series[index].mean or 1) for index, _ in shown]
    margin = max(0.05 * (max(logs) - min(logs)), 0.05)
    low, high = min(logs) - margin, max(logs) + margin
    ticks = _log_ticks(10**low, 10**high)
    figure["layout"]["xaxis"] |= {
        **{"range": [low, high], "type": "log"},
        **{"tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]},
    }
    figure["layout"]["yaxis"]["range"] = _around(
        [row.shift for _, row in shown], [statistics(table, index).shift for index, _ in shown]
    )
    make_room(figure)
    return figure


def _log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two, at least three if there are."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for digits in ((1,), (1, 2, 5), (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)):
        ticks = [float(f"{digit}e{decade}") for decade in decades for digit in digits]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 3:
            break
    return ticks


def calibration(table: Table, part: str) -> Figure | None:
    """Accuracy against confidence on the 'reference' or the 'shift' domains; None without per-image outcomes."""
    rows = [
        (i, row) for i, row in enumerate(table.rows) if part in statistics(table, i).calibration and not on_path(row)
    ]
    if not rows:
        return None
    first = (table.zero_shot, table.baseline)
    rows.sort(key=lambda item: (item[1] not in first, -(item[1].shift.mean or 0.0)))
    figure = new_figure("confidence, %", "accuracy, %")
    styles = styles_of(table)
    for place, (index, row) in enumerate(rows[:MOST_CURVES]):
        bins = statistics(table, index).calibration[part].bins
        total = sum(b.num_images for b in bins)
        colour = NEUTRAL if row is table.zero_shot else styles[row_key(row)]["colour"]
        add(
            figure,
            x=[100 * b.confidence for b in bins],
            y=[100 * b.accuracy for b in bins],
            mode="lines+markers",
            line={"color": colour, "width": 1.5},
            marker={"color": colour, "size": [4 + 14 * math.sqrt(b.num_images / total) for b in bins]},
            name=escape_html(row.name),
            visible=True if place < FIRST_CURVES else "legendonly",
            hoverinfo="text",
            hovertext=[
                f"<b>{escape_html(row.name)}</b><br>confidence {percent(b.confidence)}, accuracy {percent(b.accuracy)}, "
                f"{b.num_images:,} outcomes"
                for b in bins
            ],
        )
    line = {"color": NEUTRAL, "width": 1, "dash": "dot"}
    add(figure, x=[0, 100], y=[0, 100], mode="lines", line=line, name="y = x", hoverinfo="skip")
    for axis in ("xaxis", "yaxis"):
        figure["layout"][axis]["range"] = [-2, 102]
    make_room(figure)
    return figure


def source_target(tables: Sequence[Table]) -> Iterator[tuple[str, Figure]]:
    """For each method a map of sources and targets: accuracies, coloured by the difference to the zero-shot model.

    `tables` are those of one benchmark and model with one source each. Nothing where there are fewer than two.
    """
    if len(tables) < 2 or any(len(table.sources) != 1 or table.zero_shot is None for table in tables):
        return
    names = [row.name for row in tables[0].rows if row is not tables[0].zero_shot and not row.variant]
    names.sort(key=lambda name: tables[0].baseline is None or name != tables[0].baseline.name)
    for name in names[:MOST_MAPS]:
        if figure := _map(tables, name):
            yield name, figure


def _map(tables: Sequence[Table], name: str) -> Figure | None:
    domains = list(dict.fromkeys(d for table in tables for d in (*table.sources, *table.shifted)))
    values: list[list[float | None]] = []
    texts: list[list[str]] = []
    for table in tables:
        row = next((row for row in table.rows if row.name == name), None)
        ours = [row.accuracy[d].mean if row and d in row.accuracy else None for d in domains]
        base = [
            table.zero_shot.accuracy[d].mean if table.zero_shot and d in table.zero_shot.accuracy else None
            for d in domains
        ]
        gained = [None if a is None or b is None else a - b for a, b in zip(ours, base, strict=True)]
        values.append([as_percent(gain) for gain in gained])
        texts.append(
            [
                "" if a is None else f"{percent(a)}<br>({points(gain)})" if gain is not None else percent(a)
                for a, gain in zip(ours, gained, strict=True)
            ]
        )
    found = [abs(value) for line in values for value in line if value is not None]
    if not found:
        return None
    figure = new_figure("measured on", "fine-tuned on")
    limit = max(1.0, *found)
    add(
        figure,
        type="heatmap",
        x=[escape_html(domain) for domain in domains],
        y=[escape_html(table.over) for table in tables],
        z=values,
        text=texts,
        texttemplate="%{text}",
        zmin=-limit,
        zmax=limit,
        colorscale=[[0, COLOURS[0]], [0.5, "#f5f5f2"], [1, COLOURS[1]]],
        colorbar={"title": {"text": "points"}, "thickness": 12},
        hoverinfo="skip",
        xgap=2,
        ygap=2,
    )
    figure["layout"]["yaxis"] |= {"autorange": "reversed", "showgrid": False}
    figure["layout"]["xaxis"]["showgrid"] = False
    figure["layout"]["height"] = min(PLOT_HEIGHT, 130 + 60 * len(tables))
    return figure
