"""Points of more rows than a legend can name: one trace for each look, which is that of the row's method.

Of more methods than looks all have the same one, in a single trace: names of a few of hundreds would tell nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orchestrator.analysis.rows import Row
from orchestrator.report.drawing import COLOURS, SYMBOLS, Figure, add, escape_html

Place = Callable[[Row], float | None]
SIZE = 6
"""Pixels of a point."""
MOST_LOOKS = len(COLOURS) * len(SYMBOLS)
"""Pairs of colour and symbol that come round together: all, as their numbers share no divisor."""


def add_crowd(figure: Figure, rows: Sequence[Row], x: Place, y: Place, about: Callable[[Row], str]) -> None:
    """Rows as points, without error bars and seeds; hovering shows a row's name and `about`, which is escaped."""
    methods = list(dict.fromkeys(row.method for row in rows))
    if len(methods) > MOST_LOOKS:
        looks = dict.fromkeys(methods, 0)
        names = [f"{len(rows):,} rows of {len(methods):,} methods"]
    else:
        looks = {method: look for look, method in enumerate(methods)}
        names = [escape_html(method) for method in methods]
    by_look: list[list[Row]] = [[] for _ in names]
    for row in rows:
        by_look[looks[row.method]].append(row)
    for look, own in enumerate(by_look):
        add(
            figure,
            x=[x(row) for row in own],
            y=[y(row) for row in own],
            mode="markers",
            marker={"color": COLOURS[look % len(COLOURS)], "symbol": SYMBOLS[look % len(SYMBOLS)], "size": SIZE},
            opacity=0.7,
            name=names[look],
            hoverinfo="text",
            hovertext=[f"<b>{escape_html(row.name)}</b><br>{escape_html(about(row))}" for row in own],
        )
