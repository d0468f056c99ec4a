"""The scatter of a table in plotly's JSON, free of theme: the page sets text and grid colours for light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.analysis.aggregate import Table
from orchestrator.analysis.intervals import Interval
from orchestrator.analysis.rows import Row
from orchestrator.analysis.series import Series
from orchestrator.report.crowd import add_crowd
from orchestrator.report.drawing import (
    INTERPOLATION,
    NEUTRAL,
    Axes,
    Figure,
    Scale,
    Style,
    add,
    escape_html,
    is_crowded,
    make_room,
    new_figure,
    on_path,
    places,
    row_key,
    styles_of,
)
from orchestrator.report.numbers import interval_text, mean_sd, nats, percent, points
from orchestrator.report.overlays import add_pareto, add_published, add_trend
from orchestrator.report.published_points import PublishedPoint
from orchestrator.report.tables import name, seeds, shift_mean
from orchestrator.report.trend import Trend, statistics


def scatter(
    table: Table, axes: Axes = "linear", fitted: Trend | None = None, published: Sequence[PublishedPoint] = ()
) -> Figure:
    """Reference against shift accuracy: a point for each row, its seeds as faint dots, interpolations as paths.

    Error bars are 95 % intervals where the table has them, else standard deviations over seeds. Behind them the line of the
    plain models with its band, if there is one, the Pareto line, and published values as hollow symbols.
    """
    scale = Scale(axes)
    kind = "held-out" if table.leave_one_out else "shifted"
    split = ", held-out images" if table.reference_split == "val" else ""
    figure = new_figure(
        f"accuracy on {escape_html(table.over)} (reference{split}), %", f"mean accuracy on the {kind} domains, %"
    )
    if is_crowded(table):
        add_crowd(
            figure,
            [row for row in table.rows if row is not table.zero_shot and _point(row)],
            lambda row: scale.at(row.reference.mean),
            lambda row: scale.at(row.shift.mean),
            lambda row: (
                f"reference {percent(row.reference.mean or 0)}, {shift_mean(table)} {percent(row.shift.mean or 0)}"
            ),
        )
    else:
        _add_named(figure, table, scale)
    if table.zero_shot is not None:
        _add_zero_shot(figure, table, scale)
    add_published(figure, published, scale)
    add_pareto(figure, table, scale)
    span = _set_ranges(figure, table, scale, published)
    if fitted is not None and span:
        add_trend(figure, fitted, scale, span)
    make_room(figure)
    return figure


def _add_named(figure: Figure, table: Table, scale: Scale) -> None:
    """Every row with its name, error bars, seeds and path."""
    styles = styles_of(table)
    _add_paths(figure, table, styles, scale)
    for row in table.rows:
        if row is not table.zero_shot and not on_path(row):
            _add_row(figure, [row], row.name, styles[row_key(row)], table, scale)
    for (label, of), rows in _variants(table).items():
        _add_row(figure, rows, name(label, of), styles[label, of], table, scale)


def _group(key: tuple[str, str | None]) -> str:
    return escape_html(name(*key))


def _variants(table: Table) -> dict[tuple[str, str | None], list[Row]]:
    groups: dict[tuple[str, str | None], list[Row]] = {}
    for row in table.rows:
        if on_path(row):
            groups.setdefault(row_key(row), []).append(row)
    return groups


def _add_paths(figure: Figure, table: Table, styles: Mapping[tuple[str, str | None], Style], scale: Scale) -> None:
    """Lines from zero-shot over the variants, in order of the interpolation, to the model they are of."""
    ends: dict[str | None, Row] = {}
    for row in table.rows:
        if not row.of:
            ends.setdefault(row.label, row)
    for key, variants in _variants(table).items():
        end = ends.get(key[1])
        inner = sorted(filter(_point, variants), key=lambda row: row.parameters[INTERPOLATION])
        path = [row for row in (table.zero_shot, *inner, end) if row is not None and _point(row)]
        if not inner or len(path) < 2:
            continue
        add(
            figure,
            x=[scale.at(row.reference.mean) for row in path],
            y=[scale.at(row.shift.mean) for row in path],
            mode="lines",
            line={"color": styles[key]["colour"], "width": 1.5},
            opacity=0.7,
            hoverinfo="skip",
            legendgroup=_group(key),
            showlegend=False,
            meta={"path": True},
        )


def _point(row: Row) -> bool:
    return row.reference.mean is not None and row.shift.mean is not None


def _add_row(figure: Figure, rows: Sequence[Row], title: str, style: Style, table: Table, scale: Scale) -> None:
    shown = [row for row in rows if _point(row)]
    if not shown:
        return
    group = _group(row_key(shown[0]))
    where = places(table)
    found = [statistics(table, where[id(row)]) for row in shown]
    dots = [(row, seed) for row in shown for seed in row.reference.values if row.reference.n > 1]
    add(
        figure,
        x=[scale.at(row.reference.values[seed]) for row, seed in dots],
        y=[scale.at(row.shift.values[seed]) for row, seed in dots],
        mode="markers",
        marker={"color": style["colour"], "symbol": "circle", "size": 4},
        opacity=0.45,
        legendgroup=group,
        showlegend=False,
        hoverinfo="text",
        hovertext=[_seed_hover(row, seed) for row, seed in dots],
    )
    add(
        figure,
        x=[scale.at(row.reference.mean) for row in shown],
        y=[scale.at(row.shift.mean) for row in shown],
        error_x=scale.bars([row.reference for row in shown], [of.reference for of in found], style["colour"]),
        error_y=scale.bars([row.shift for row in shown], [of.shift for of in found], style["colour"]),
        mode="markers",
        marker={"color": style["colour"], "symbol": style["symbol"], "size": _size(shown[0])},
        name=escape_html(title),
        legendgroup=group,
        hoverinfo="text",
        hovertext=[_row_hover(row, table, where[id(row)]) for row in shown],
    )


def _size(row: Row) -> int:
    """Pixels of a row's symbol."""
    return 20 if row.chosen else 8 if on_path(row) else 12


def _add_zero_shot(figure: Figure, table: Table, scale: Scale) -> None:
    row = table.zero_shot
    if row is None or not _point(row):
        return
    index = places(table)[id(row)]
    y, found = scale.at(row.shift.mean), statistics(table, index)
    line = {"color": NEUTRAL, "width": 1, "dash": "dash"}
    figure["layout"]["shapes"] = [
        {"type": "line", "xref": "x domain", "x0": 0, "x1": 1, "y0": y, "y1": y, "line": line}
    ]
    add(
        figure,
        x=[scale.at(row.reference.mean)],
        y=[y],
        error_x=scale.bars([row.reference], [found.reference], NEUTRAL),
        error_y=scale.bars([row.shift], [found.shift], NEUTRAL),
        mode="markers",
        marker={"symbol": "star", "size": 17, "line": {"width": 1}},
        name=escape_html(row.name),
        hoverinfo="text",
        hovertext=[_row_hover(row, table, index)],
        meta={"ink": True},
    )


def _set_ranges(
    figure: Figure, table: Table, scale: Scale, published: Sequence[PublishedPoint]
) -> tuple[float, float] | None:
    """Axes around the points with a margin, and y = x across them, wherever the points lie; returns the span of the x-axis."""
    indices = [index for index, row in enumerate(table.rows) if _point(row)]
    if not indices:
        return None
    shown, found = [table.rows[index] for index in indices], [statistics(table, index) for index in indices]
    references, shifts = [row.reference for row in shown], [row.shift for row in shown]
    ranges = {
        "xaxis": _range(references, [of.reference for of in found], scale, [point.reference for point in published]),
        "yaxis": _range(shifts, [of.shift for of in found], scale, [point.shift for point in published]),
    }
    for axis, (low, high) in ranges.items():
        figure["layout"][axis] |= {"range": [low, high], **scale.ticks(low, high)}
    add(
        figure,
        x=[scale.place(0), scale.place(1)],
        y=[scale.place(0), scale.place(1)],
        mode="lines",
        line={"color": NEUTRAL, "width": 1, "dash": "dot"},
        name="y = x",
        hoverinfo="skip",
    )
    low, high = ranges["xaxis"]
    return low, high


def _range(
    series: Sequence[Series], intervals: Sequence[Interval | None], scale: Scale, others: Sequence[float]
) -> list[float]:
    """Around all seeds and `others`, and all error bars but those that would make the rest small."""
    values = [scale.place(v) for v in (*(v for s in series for v in s.values.values()), *others)]
    room = max(0.15, max(max(s.values.values()) for s in series) - min(min(s.values.values()) for s in series))
    for of, interval in zip(series, intervals, strict=True):
        mean, spread = of.mean or 0.0, of.sd or 0.0
        low, high = (interval.low, interval.high) if interval else (mean - spread, mean + spread)
        values += [scale.place(max(low, mean - room / 2)), scale.place(min(high, mean + room / 2))]
    low, high = min(values), max(values)
    margin = max(0.08 * (high - low), 0.5 if scale.axes == "linear" else 0.02)
    return [low - margin, high + margin]


def _row_hover(row: Row, table: Table, index: int) -> str:
    lines = [f"<b>{escape_html(row.name)}</b>", f"seeds: {seeds(row)}"]
    found = statistics(table, index)
    for domain in (*table.sources, *table.shifted):
        mark = " (reference)" if domain in table.sources else ""
        lines.append(f"{escape_html(domain)}{mark}: {mean_sd(row.accuracy[domain], percent, percent) or 'no mean'}")
    shift = f"{mean_sd(row.shift, percent, percent)} {interval_text(found.shift, percent)}"
    lines.append(f"{shift_mean(table)}: {shift}".rstrip())
    if len(table.sources) != 1:
        lines.append(f"reference mean: {mean_sd(row.reference, percent, percent)}")
    lines.append(f"NLL: {mean_sd(row.reference_nll, nats, nats)} reference, {mean_sd(row.shift_nll, nats, nats)} shift")
    for other, comparison in ((table.zero_shot, table.to_zero_shot[index]), (table.baseline, table.to_baseline[index])):
        if other is not None and comparison.shift.mean is not None:
            reference, shift = (mean_sd(s, points, percent) for s in (comparison.reference, comparison.shift))
            lines.append(f"to {escape_html(other.name)}: {reference} reference, {shift} shift")
    return "<br>".join(lines)


def _seed_hover(row: Row, seed: int) -> str:
    values = f"reference {percent(row.reference.values[seed])}, shift mean {percent(row.shift.values[seed])}"
    return f"<b>{escape_html(row.name)}</b>, seed {seed}<br>{values}"
