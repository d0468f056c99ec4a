"""What stands behind the points of the scatter: the fitted line with its band, the Pareto line, and published values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from orchestrator.analysis.aggregate import Table
from orchestrator.analysis.robustness import Line
from orchestrator.report.drawing import NEUTRAL, Figure, Scale, add, escape_html
from orchestrator.report.numbers import MINUS, percent
from orchestrator.report.published_points import PublishedPoint
from orchestrator.report.trend import Trend

STEPS = 24
"""Points of a curve: a line in logit space is bent on linear axes."""
BAND, PALE_BAND = "rgba(128,128,128,0.16)", "rgba(128,128,128,0.06)"
"""Of a line, and of a chord through few rows."""
MOST_DIFFERENCES, LONGEST_DIFFERENCE = 4, 110
"""Of a published point that hovering shows, and letters of each."""
PUBLISHED_SYMBOLS = ("hexagon-open", "star-diamond-open", "hourglass-open")


def add_trend(figure: Figure, fitted: Trend, scale: Scale, span: Sequence[float]) -> None:
    """The line and its 95 % band over `span`, coordinates of the x-axis; nothing without a line."""
    line = fitted.line
    if line is None:
        return
    places = [float(x) for x in np.linspace(span[0], span[1], STEPS)]
    references = [scale.fraction(x) for x in places]
    bands = [line.band(reference) for reference in references]
    edge = [_short(scale.place(high)) for _, high in bands]
    edge += [_short(scale.place(low)) for low, _ in reversed(bands)]
    group = {"legendgroup": "fit", "hoverinfo": "skip"}
    band = PALE_BAND if fitted.chord else BAND
    there_and_back = [_short(x) for x in (*places, *reversed(places))]
    add(
        figure,
        **{"x": there_and_back, "y": edge, "mode": "lines", "fill": "toself", "fillcolor": band, **group},
        line={"width": 0},
        showlegend=False,
    )
    add(
        figure,
        **{"x": [_short(x) for x in places], "y": [_short(scale.place(line.expected(r))) for r in references]},
        mode="lines",
        line={"color": NEUTRAL, "width": 2},
        name=fit_text(fitted, line),
        **group,
    )


def fit_text(fitted: Trend, line: Line) -> str:
    """'fit: slope 0.92, R² = 0.99, n = 12'; of a chord through few rows in grey what sounds like more than it is."""
    fit = f", R\N{SUPERSCRIPT TWO} = {line.r_squared:.2f}, n = {line.num_points}"
    return f"fit: slope {slope_text(line)}" + (f'<span style="color:{NEUTRAL}">{fit}</span>' if fitted.chord else fit)


def slope_text(line: Line) -> str:
    """With a true minus sign."""
    return f"{line.slope:.2f}".replace("-", MINUS)


def add_pareto(figure: Figure, table: Table, scale: Scale) -> None:
    """Steps over the rows that no other row beats on both; nothing where there is but one."""
    front = pareto(
        [
            (row.reference.mean, row.shift.mean)
            for row in table.rows
            if row.reference.mean is not None and row.shift.mean is not None and not row.chosen
        ]
    )
    if len(front) < 2:
        return
    add(
        figure,
        x=[scale.place(x) for x, _ in front],
        y=[scale.place(y) for _, y in front],
        mode="lines",
        # Up to the next row's reference accuracy, the best that is reached is that row's.
        line={"color": NEUTRAL, "width": 2, "dash": "longdash", "shape": "vh"},
        name="Pareto line",
        hoverinfo="skip",
    )


def pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points that no other reaches on both coordinates, by the first one, rising."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(set(points), reverse=True):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front[::-1]


def add_published(figure: Figure, points: Sequence[PublishedPoint], scale: Scale) -> None:
    """Published values as hollow symbols, one entry of the legend for each paper."""
    by_paper: Mapping[str, list[PublishedPoint]] = {point.paper: [] for point in points}
    for point in points:
        by_paper[point.paper].append(point)
    for place, (paper, own) in enumerate(by_paper.items()):
        add(
            figure,
            x=[_short(scale.place(point.reference)) for point in own],
            y=[_short(scale.place(point.shift)) for point in own],
            mode="markers",
            marker={"color": NEUTRAL, "symbol": PUBLISHED_SYMBOLS[place % len(PUBLISHED_SYMBOLS)], "size": 11},
            name=f"published: {escape_html(paper)}",
            hoverinfo="text",
            hovertext=[_hover(point) for point in own],
        )


def _hover(point: PublishedPoint) -> str:
    lines = [
        f"<b>{escape_html(point.name)}</b>, published: {escape_html(point.paper)}, {escape_html(point.place)}",
        f"reference {percent(point.reference)}, shift mean {percent(point.shift)}",
    ]
    shown = [_cut(text) for text in point.differences[:MOST_DIFFERENCES]]
    rest = len(point.differences) - len(shown)
    lines += [f"other protocol: {escape_html(text)}" for text in shown]
    lines += [f"and {rest} more differences"] if rest else []
    lines += ["no difference in protocol is known"] if not point.differences else []
    return "<br>".join(lines)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_DIFFERENCE else text[: LONGEST_DIFFERENCE - 1] + "…"


def _short(value: float) -> float:
    return round(value, 4)
