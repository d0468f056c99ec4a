"""Points of more rows than a legend can name: one trace for each look, which is that of the row's method."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orchestrator.analysis.rows import Row
from orchestrator.report.drawing import COLOURS, SYMBOLS, Figure, add, escape_html

Place = Callable[[Row], float | None]
NAMED = 2
"""Methods of one look that a legend names before it counts the rest."""
SIZE = 6
"""Pixels of a point."""


def add_crowd(figure: Figure, rows: Sequence[Row], x: Place, y: Place, about: Callable[[Row], str]) -> None:
    """Rows as points, without error bars and seeds; hovering shows a row's name and `about`, which is escaped."""
    methods = list(dict.fromkeys(row.method for row in rows))
    # As many looks as pairs of colour and symbol that come round together: all, as their numbers share no divisor.
    looks = {method: index % (len(COLOURS) * len(SYMBOLS)) for index, method in enumerate(methods)}
    by_look: dict[int, list[Row]] = {look: [] for look in looks.values()}
    for row in rows:
        by_look[looks[row.method]].append(row)
    names: dict[int, list[str]] = {look: [] for look in by_look}
    for method, look in looks.items():
        names[look].append(method)
    for look, own in by_look.items():
        add(
            figure,
            x=[x(row) for row in own],
            y=[y(row) for row in own],
            mode="markers",
            marker={"color": COLOURS[look % len(COLOURS)], "symbol": SYMBOLS[look % len(SYMBOLS)], "size": SIZE},
            opacity=0.7,
            name=escape_html(_listed(names[look])),
            hoverinfo="text",
            hovertext=[f"<b>{escape_html(row.name)}</b><br>{escape_html(about(row))}" for row in own],
        )


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
