"""Figures of a table in plotly's JSON, free of theme: the page sets text and grid colours for light and dark.

plotly shows text as a subset of HTML, so every name is escaped here.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.aggregate import Table
from orchestrator.report.tables import mean_sd, name, nats, percent, points, seeds, shift_mean
from orchestrator.rows import Row
from orchestrator.series import Series, difference

INTERPOLATION = "alpha"
"""The parameter of variants that lie between the zero-shot model (0) and the fine-tuned one (1): drawn as a path."""

# The hues of Okabe and Ito's palette for colour-blind readers, at a lightness that shows on white and on black.
COLOURS = ("#d9661f", "#2a87d0", "#0f9d76", "#c66ba0", "#b98200", "#7a6fd0")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "pentagon")
NEUTRAL = "#888888"
MOST_LINES = 12
"""With more rows than this, the figure by domain leaves the variants out: its legend would outgrow it."""

PLOT_HEIGHT, CHART_WIDTH, LEGEND_LINE = 420, 480, 19
"""Pixels: of the plot with its axes, of a chart where two stand side by side on a small screen, of a line of the legend."""
LETTER_WIDTH, LEGEND_SYMBOL = 7.5, 45
"""Pixels of a letter of the legend, and of the symbol before a name with the gap after it."""

Style = Mapping[str, str]
Figure = dict[str, Any]
"""A plotly figure as JSON: {'data': traces, 'layout': layout}."""


def scatter(table: Table) -> Figure:
    """Reference against shift accuracy: a point for each row, its seeds as faint dots, interpolations as paths."""
    kind = "held-out" if table.leave_one_out else "shifted"
    split = ", held-out images" if table.reference_split == "val" else ""
    figure = _figure(
        f"accuracy on {_escape(table.over)} (reference{split}), %", f"mean accuracy on the {kind} domains, %"
    )
    styles = _styles(table)
    _add_paths(figure, table, styles)
    for row in table.rows:
        if row is not table.zero_shot and not _on_path(row):
            _add_row(figure, [row], row.name, styles[_key(row)], table)
    for (label, of), rows in _variants(table).items():
        _add_row(figure, rows, name(label, of), styles[label, of], table)
    if table.zero_shot is not None:
        _add_zero_shot(figure, table)
    _set_ranges(figure, table)
    _make_room(figure)
    return figure


def by_domain(table: Table) -> Figure:
    """Difference to the zero-shot model on every domain, reference first; variants start hidden, where they are few."""
    figure = _figure("", "difference to zero-shot, points")
    figure["layout"]["yaxis"]["zeroline"] = True
    domains, styles = (*table.sources, *table.shifted), _styles(table)
    rows = [row for row in table.rows if row is not table.zero_shot and _any_mean(row)]
    if len(rows) > MOST_LINES:
        rows = [row for row in rows if not row.variant]
    for index, row in enumerate(rows if table.zero_shot else []):
        _add_differences(figure, row, table, styles[_key(row)], 0.2 * (index / max(len(rows) - 1, 1) - 0.5))
    ticks = [_escape(domain) + (" (ref.)" if domain in table.sources else "") for domain in domains]
    span = [-0.3, len(domains) - 0.7]
    figure["layout"]["xaxis"] |= {"tickvals": list(range(len(domains))), "ticktext": ticks, "range": span}
    _make_room(figure)
    return figure


def _add_differences(figure: Figure, row: Row, table: Table, style: Style, offset: float) -> None:
    """One row's differences to zero-shot; `offset` keeps the error bars of rows apart."""
    zero_shot = table.zero_shot
    if zero_shot is None:
        return
    domains = (*table.sources, *table.shifted)
    cells = [difference(row.accuracy[domain], zero_shot.accuracy[domain], zero_shot.name) for domain in domains]
    _add(
        figure,
        x=[position + offset for position in range(len(domains))],
        y=[_percent(cell.mean) for cell in cells],
        error_y=_error_bars([cell.sd for cell in cells]),
        mode="lines+markers",
        name=_escape(row.name),
        line={"color": style["colour"], "width": 1.5, "dash": "dot" if row.variant else "solid"},
        marker={"color": style["colour"], "symbol": style["symbol"], "size": 9},
        visible="legendonly" if row.variant else True,
        hoverinfo="text",
        hovertext=[_domain_hover(row, domain, cell) for domain, cell in zip(domains, cells, strict=True)],
    )


def _any_mean(row: Row) -> bool:
    return any(series.mean is not None for series in row.accuracy.values())


def _key(row: Row) -> tuple[str, str | None]:
    return row.label, row.of


def _on_path(row: Row) -> bool:
    return INTERPOLATION in row.parameters


def _variants(table: Table) -> dict[tuple[str, str | None], list[Row]]:
    groups: dict[tuple[str, str | None], list[Row]] = {}
    for row in table.rows:
        if _on_path(row):
            groups.setdefault(_key(row), []).append(row)
    return groups


def _styles(table: Table) -> dict[tuple[str, str | None], Style]:
    """Colour and symbol of each method; what is derived from a method has its colour and open symbols."""
    styles: dict[tuple[str, str | None], Style] = {}
    keys = list(dict.fromkeys(_key(row) for row in table.rows if row is not table.zero_shot))
    bases = [key for key in keys if key[1] is None]
    for index, key in enumerate(bases):
        styles[key] = {"colour": COLOURS[index % len(COLOURS)], "symbol": SYMBOLS[index % len(SYMBOLS)]}
    derived = [(label, of) for label, of in keys if of is not None]
    for index, (label, of) in enumerate(derived):
        base = styles.get((of, None))
        rank = sum(known[1] == of for known in styles) + (bases.index((of, None)) if base else index)
        colour = base["colour"] if base else COLOURS[(len(bases) + index) % len(COLOURS)]
        styles[label, of] = {"colour": colour, "symbol": f"{SYMBOLS[rank % len(SYMBOLS)]}-open"}
    return styles


def _add_paths(figure: Figure, table: Table, styles: Mapping[tuple[str, str | None], Style]) -> None:
    """Lines from zero-shot over the variants, in order of the interpolation, to the model they are of."""
    for key, variants in _variants(table).items():
        end = next((row for row in table.rows if row.label == key[1] and not row.of), None)
        inner = sorted(filter(_point, variants), key=lambda row: row.parameters[INTERPOLATION])
        path = [row for row in (table.zero_shot, *inner, end) if row is not None and _point(row)]
        if not inner or len(path) < 2:
            continue
        _add(
            figure,
            x=[_percent(row.reference.mean) for row in path],
            y=[_percent(row.shift.mean) for row in path],
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


def _add_row(figure: Figure, rows: Sequence[Row], title: str, style: Style, table: Table) -> None:
    shown = [row for row in rows if _point(row)]
    if not shown:
        return
    group = _group(_key(shown[0]))
    dots = [(row, seed) for row in shown for seed in row.reference.values if row.reference.n > 1]
    _add(
        figure,
        x=[_percent(row.reference.values[seed]) for row, seed in dots],
        y=[_percent(row.shift.values[seed]) for row, seed in dots],
        mode="markers",
        marker={"color": style["colour"], "symbol": "circle", "size": 4},
        opacity=0.45,
        legendgroup=group,
        showlegend=False,
        hoverinfo="text",
        hovertext=[_seed_hover(row, seed) for row, seed in dots],
    )
    _add(
        figure,
        x=[_percent(row.reference.mean) for row in shown],
        y=[_percent(row.shift.mean) for row in shown],
        error_x=_error_bars([row.reference.sd for row in shown], style["colour"]),
        error_y=_error_bars([row.shift.sd for row in shown], style["colour"]),
        mode="markers",
        marker={"color": style["colour"], "symbol": style["symbol"], "size": 8 if _on_path(shown[0]) else 12},
        name=_escape(title),
        legendgroup=group,
        hoverinfo="text",
        hovertext=[_row_hover(row, table) for row in shown],
    )


def _add_zero_shot(figure: Figure, table: Table) -> None:
    row = table.zero_shot
    if row is None or not _point(row):
        return
    y = _percent(row.shift.mean)
    line = {"color": NEUTRAL, "width": 1, "dash": "dash"}
    figure["layout"]["shapes"] = [
        {"type": "line", "xref": "x domain", "x0": 0, "x1": 1, "y0": y, "y1": y, "line": line}
    ]
    _add(
        figure,
        x=[_percent(row.reference.mean)],
        y=[y],
        mode="markers",
        marker={"symbol": "star", "size": 17, "line": {"width": 1}},
        name=_escape(row.name),
        hoverinfo="text",
        hovertext=[_row_hover(row, table)],
        meta={"ink": True},
    )


def _set_ranges(figure: Figure, table: Table) -> None:
    """Axes around the points with a margin, and y = x across them, wherever the points lie."""
    shown = [row for row in table.rows if _point(row)]
    if not shown:
        return
    figure["layout"]["xaxis"]["range"] = _range([row.reference for row in shown])
    figure["layout"]["yaxis"]["range"] = _range([row.shift for row in shown])
    _add(
        figure,
        x=[0, 100],
        y=[0, 100],
        mode="lines",
        line={"color": NEUTRAL, "width": 1, "dash": "dot"},
        name="y = x",
        hoverinfo="skip",
    )


def _range(series: Sequence[Series]) -> list[float]:
    values = [100 * v for s in series for v in s.values.values()]
    spread = max(100 * (s.sd or 0) for s in series)
    low, high = min(values) - spread, max(values) + spread
    margin = max(0.08 * (high - low), 0.5)
    return [low - margin, high + margin]


def _make_room(figure: Figure) -> None:
    """Height for the legend below the plot: a long one must not take the plot's."""
    names = [trace["name"] for trace in figure["data"] if "name" in trace and trace.get("showlegend", True)]
    width = max((len(html.unescape(text)) for text in names), default=0) * LETTER_WIDTH + LEGEND_SYMBOL
    lines = math.ceil(len(names) / max(1, CHART_WIDTH // width))
    figure["layout"]["height"] = PLOT_HEIGHT + LEGEND_LINE * lines


def _row_hover(row: Row, table: Table) -> str:
    lines = [f"<b>{_escape(row.name)}</b>", f"seeds: {seeds(row)}"]
    for domain in (*table.sources, *table.shifted):
        mark = " (reference)" if domain in table.sources else ""
        lines.append(f"{_escape(domain)}{mark}: {mean_sd(row.accuracy[domain], percent, percent) or 'no mean'}")
    lines.append(f"{shift_mean(table)}: {mean_sd(row.shift, percent, percent)}")
    if len(table.sources) != 1:
        lines.append(f"reference mean: {mean_sd(row.reference, percent, percent)}")
    lines.append(f"NLL: {mean_sd(row.reference_nll, nats, nats)} reference, {mean_sd(row.shift_nll, nats, nats)} shift")
    index = table.rows.index(row)
    for other, comparison in ((table.zero_shot, table.to_zero_shot[index]), (table.baseline, table.to_baseline[index])):
        if other is not None and comparison.shift.mean is not None:
            reference, shift = (mean_sd(s, points, percent) for s in (comparison.reference, comparison.shift))
            lines.append(f"to {_escape(other.name)}: {reference} reference, {shift} shift")
    return "<br>".join(lines)


def _seed_hover(row: Row, seed: int) -> str:
    values = f"reference {percent(row.reference.values[seed])}, shift mean {percent(row.shift.values[seed])}"
    return f"<b>{_escape(row.name)}</b>, seed {seed}<br>{values}"


def _domain_hover(row: Row, domain: str, versus: Series) -> str:
    number = mean_sd(versus, points, percent) or "no mean"
    return f"<b>{_escape(row.name)}</b> on {_escape(domain)}<br>{number}, n = {versus.n}"


def _error_bars(sds: Sequence[float | None], colour: str | None = None) -> dict[str, Any]:
    bars: dict[str, Any] = {"type": "data", "array": [100 * (sd or 0) for sd in sds], "thickness": 1, "width": 3}
    return {**bars, "visible": any(sds), **({"color": colour} if colour else {})}


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _group(key: tuple[str, str | None]) -> str:
    return _escape(name(*key))


def _escape(text: str) -> str:
    return html.escape(text, quote=False)


def _figure(x: str, y: str) -> Figure:
    axis = {"zeroline": False, "automargin": True}
    return {
        "data": [],
        "layout": {
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "margin": {"l": 56, "r": 12, "t": 12, "b": 48},
            "legend": {
                **{"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
                **{"tracegroupgap": 0, "maxheight": 0.9},
            },
            "hoverlabel": {"align": "left"},
            "hovermode": "closest",
            "xaxis": {"title": {"text": x}, **axis},
            "yaxis": {"title": {"text": y}, **axis},
        },
    }


def _add(figure: Figure, **trace: Any) -> None:
    figure["data"].append({"type": "scatter", **trace})
