"""The figures of a filled view in plotly's JSON, free of theme, for its page and for files. No ray, no torch.

What a panel shows says how it is drawn: accuracies as the first column (the reference) against each other one, in the papers'
orientation (up: the reference, right: the shift); pairs of columns as one against the other; anything else as bars by column.
Open symbols and dotted lines are published, filled ones ours; rows of one curve are joined in their order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.report.drawing import (
    COLOURS,
    NEUTRAL,
    SYMBOLS,
    Figure,
    Style,
    add,
    escape_html,
    make_room,
    new_figure,
)
from orchestrator.views.column_words import METRICS, axis_title, short_title
from orchestrator.views.join import Cell, FilledPanel, FilledView, Line
from orchestrator.views.spec import PERCENT, Row

Whose = Literal["published", "ours"]
BOTH: tuple[Whose, ...] = ("published", "ours")
OTHER_PROTOCOL = "ours, by another protocol (not comparable)"
SOME_OF_OTHERS = "ours, some by another protocol (see the table)"
SIZE, LABEL_SIZE = 9, 10
"""Pixels of a symbol, and of the letters beside the ends of a curve."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure of a view."""

    section: str
    """title of the panel or section that it is of"""
    name: str
    """what tells it from the section's other figures; '' for an only one"""
    title: str
    caption: str
    figure: Figure


def figures(filled: FilledView) -> list[Drawn]:
    """All figures of a view, panel by panel; none of a table, or of a panel without a value to draw."""
    return [drawn for panel in filled.panels for drawn in panel_figures(panel)] if filled.view.figure else []


def panel_figures(filled: FilledPanel) -> Iterator[Drawn]:
    """The figures of one panel."""
    panel, columns = filled.panel, filled.panel.columns
    if panel.correlate:
        pairs = [(at, at + 1, filled.notes[at // 2]) for at in range(0, len(columns), 2)]
    elif len(columns) > 1 and all(column.metric in PERCENT for column in columns):
        pairs = [(at, 0, "") for at in range(1, len(columns))]
    else:
        if figure := _bars(filled):
            yield Drawn(panel.title, "", axis_title(panel, columns, columns[0]), _spread(filled), figure)
        return
    for x, y, note in pairs:
        if figure := _scatter(filled, x, y):
            name = short_title(panel, columns[x]) if len(pairs) > 1 else ""
            titles = (METRICS[columns[at].metric] if panel.correlate else columns[at].title for at in (y, x))
            title = " against ".join(titles)
            yield Drawn(panel.title, name, title, ". ".join(filter(None, (note, _spread(filled)))), figure)


def _spread(filled: FilledPanel) -> str:
    """What the error bars are."""
    cells = [cell for line in filled.lines for cell in line.cells]
    ours = "the 95 % interval" if any(cell.interval for cell in cells) else "s.d. over seeds"
    known = {
        "s.d. as published": any(cell.published and cell.published.sd for cell in cells),
        f"{ours} of ours": any(cell.interval or cell.ours.sd for cell in cells),
    }
    return f"Error bars: {', '.join(text for text, there in known.items() if there)}." if any(known.values()) else ""


def _scatter(filled: FilledPanel, x: int, y: int) -> Figure | None:
    """One column against another; None where no row has both."""
    panel = filled.panel
    columns = panel.columns
    figure = new_figure(*(escape_html(axis_title(panel, [columns[at]], columns[at])) for at in (x, y)))
    named: set[str] = set()
    styles = _styles([line.row for line in filled.lines])
    for name, lines in _curves(filled.lines).items():
        for whose in BOTH:
            found = [line for line in lines if None not in (_mean(line.cells[x], whose), _mean(line.cells[y], whose))]
            if found:
                _add_curve(figure, name, whose, found, (x, y), styles[name], shown=name not in named)
                named.add(name)
    if not named:
        return None
    _add_key(figure, filled)
    make_room(figure)
    return figure


def _add_curve(
    figure: Figure, name: str, whose: Whose, lines: Sequence[Line], at: tuple[int, int], style: Style, shown: bool
) -> None:
    ours = whose == "ours"
    sides = {side: [line.cells[place] for line in lines] for side, place in zip("xy", at, strict=True)}
    add(
        figure,
        **{side: [_mean(cell, whose) for cell in cells] for side, cells in sides.items()},
        **{f"error_{side}": _error_bars(cells, whose, style["colour"]) for side, cells in sides.items()},
        mode="lines+markers+text" if len(lines) > 1 else "markers",
        marker={"color": style["colour"], "symbol": style["symbol"] + ("" if ours else "-open"), "size": SIZE},
        line={"color": style["colour"], "width": 1.5, "dash": "solid" if ours else "dot"},
        text=[escape_html(line.row.point) if line in (lines[0], lines[-1]) else "" for line in lines],
        textposition=style["beside"],
        textfont={"size": LABEL_SIZE},
        cliponaxis=False,
        name=escape_html(name),
        legendgroup=escape_html(name),
        showlegend=shown,
        hoverinfo="text",
        hovertext=[_hover(line, whose, at) for line in lines],
    )


def _hover(line: Line, whose: Whose, at: tuple[int, int]) -> str:
    values = ", ".join(f"{_mean(line.cells[place], whose):.4g}" for place in at)
    against = dict.fromkeys(text for place in at for text in line.cells[place].differences) if whose == "ours" else ()
    return "<br>".join(
        [
            f"<b>{escape_html(line.row.title)}</b>, {whose}: {values}",
            *(f"not comparable: {escape_html(t)}" for t in against),
        ]
    )


def _add_key(figure: Figure, filled: FilledPanel) -> None:
    """Entries of the legend that say whose a symbol is, in no row's colour."""
    cells = [cell for line in filled.lines for cell in line.cells]
    ours = [cell for cell in cells if cell.ours.mean is not None]
    if any(cell.published for cell in cells):
        _add_entry(figure, "published", "circle-open")
        if ours:
            comparable = {cell.comparable for cell in ours}
            words = {(True,): "ours", (False,): OTHER_PROTOCOL, (False, True): SOME_OF_OTHERS}
            _add_entry(figure, words[tuple(sorted(comparable))], "circle")


def _add_entry(figure: Figure, name: str, symbol: str) -> None:
    marker = {"color": NEUTRAL, "symbol": symbol, "size": SIZE}
    add(figure, x=[None], y=[None], mode="markers", marker=marker, name=name, hoverinfo="skip")


def _bars(filled: FilledPanel) -> Figure | None:
    """A bar for each row over each column; None without a value."""
    columns = filled.panel.columns
    figure = new_figure("", escape_html(axis_title(filled.panel, columns, columns[0])))
    styles = _styles([line.row for line in filled.lines])
    for line in filled.lines:
        for whose in BOTH:
            if any(_mean(cell, whose) is not None for cell in line.cells):
                colour = styles[_curve(line.row)]["colour"]
                outline = {"color": "rgba(0,0,0,0)", "line": {"color": colour, "width": 1.5}}
                add(
                    figure,
                    type="bar",
                    x=[escape_html(short_title(filled.panel, column)) for column in columns],
                    y=[_mean(cell, whose) for cell in line.cells],
                    error_y=_error_bars(line.cells, whose, NEUTRAL),
                    marker={"color": colour} if whose == "ours" else outline,
                    name=escape_html(line.row.title) + (", published" if whose == "published" else ""),
                    showlegend=True,
                )
    if not figure["data"]:
        return None
    figure["layout"] |= {"barmode": "group", "bargap": 0.35}
    figure["layout"]["yaxis"]["rangemode"] = "tozero"
    make_room(figure)
    return figure


def _mean(cell: Cell, whose: Whose) -> float | None:
    if whose == "ours":
        return cell.ours.mean
    return cell.published.mean if cell.published else None


def _error_bars(cells: Sequence[Cell], whose: Whose, colour: str) -> dict[str, Any]:
    """Down and up from the means: our interval where there is one, else the s.d. over seeds."""
    ends = [_ends(cell, whose) for cell in cells]
    return {
        "type": "data",
        "symmetric": False,
        "array": [up for _, up in ends],
        "arrayminus": [down for down, _ in ends],
        "color": colour,
        "thickness": 1,
        "width": 3,
        "visible": any(down or up for down, up in ends),
    }


def _ends(cell: Cell, whose: Whose) -> tuple[float, float]:
    if whose == "published":
        spread = (cell.published.sd if cell.published else None) or 0.0
        return spread, spread
    if cell.interval and cell.ours.mean is not None:
        return cell.ours.mean - cell.interval[0], cell.interval[1] - cell.ours.mean
    return cell.ours.sd or 0.0, cell.ours.sd or 0.0


def _curve(row: Row) -> str:
    return row.curve or row.title


def _curves(lines: Sequence[Line]) -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = {}
    for line in lines:
        found.setdefault(_curve(line.row), []).append(line)
    return found


def _styles(rows: Sequence[Row]) -> dict[str, Style]:
    """Colour and symbol of each curve: the colour is that of what it builds on, the symbols of one colour differ."""
    bases = list(dict.fromkeys(_curve(row.of or row) for row in rows))
    styles: dict[str, Style] = {}
    of_base: dict[str, int] = {}
    for row in rows:
        if (name := _curve(row)) not in styles:
            base = _curve(row.of or row)
            number = of_base.setdefault(base, 0)
            of_base[base] += 1
            # Without rows that build on others a symbol for each, for readers who do not tell the colours apart.
            place = number if any(other.of for other in rows) else bases.index(base)
            styles[name] = {
                "colour": COLOURS[bases.index(base) % len(COLOURS)],
                "symbol": SYMBOLS[place % len(SYMBOLS)],
                "beside": f"{('top', 'bottom')[bases.index(base) % 2]} center",
            }
    return styles
