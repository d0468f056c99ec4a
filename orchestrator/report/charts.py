"""Figures of a table that are of one quantity against another: costs, confidences."""

from __future__ import annotations

import math

from orchestrator.analysis.aggregate import Table
from orchestrator.analysis.rows import Row
from orchestrator.analysis.series import Series
from orchestrator.report.crowd import add_crowd
from orchestrator.report.drawing import (
    NEUTRAL,
    Figure,
    Scale,
    add,
    around,
    as_percent,
    escape_html,
    is_crowded,
    make_room,
    new_figure,
    on_path,
    row_key,
    styles_of,
)
from orchestrator.report.numbers import amount, mean_sd, percent
from orchestrator.report.tables import shift_mean
from orchestrator.report.trend import statistics

MOST_CURVES, FIRST_CURVES = 12, 4
"""Calibration curves in a figure, and those that are not hidden at first."""


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
    if is_crowded(table):
        spent_by = {id(row): series[index] for index, row in shown}
        add_crowd(
            figure,
            [row for _, row in shown],
            lambda row: spent_by[id(row)].mean,
            lambda row: as_percent(row.shift.mean),
            lambda row: (
                f"{amount(spent_by[id(row)].mean or 0)} {unit}, {shift_mean(table)} {percent(row.shift.mean or 0)}"
            ),
        )
    styles, scale = styles_of(table), Scale()
    for index, row in [] if is_crowded(table) else shown:
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
    figure["layout"]["yaxis"]["range"] = around(
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


def with_curve(table: Table, part: str) -> list[tuple[int, Row]]:
    """(index, row) of what has a calibration curve: what others are compared with first, then by shift mean."""
    rows = [
        (index, row)
        for index, row in enumerate(table.rows)
        if part in statistics(table, index).calibration and not on_path(row) and not row.chosen
    ]
    first = (table.zero_shot, table.baseline)
    return sorted(rows, key=lambda item: (not any(item[1] is row for row in first), -(item[1].shift.mean or 0.0)))


def calibration(table: Table, part: str) -> Figure | None:
    """Accuracy against confidence on the 'reference' or the 'shift' domains; None without per-image outcomes."""
    rows = with_curve(table, part)
    if not rows:
        return None
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
