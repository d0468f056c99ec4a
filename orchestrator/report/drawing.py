"""What the figures of a table share: colours and symbols of its rows, scales of axes, room for legends.

plotly shows text as a subset of HTML, so every name is escaped here.
"""

from __future__ import annotations

import html
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.analysis.aggregate import Table
from orchestrator.analysis.intervals import Interval
from orchestrator.analysis.rows import Row
from orchestrator.analysis.series import Series

INTERPOLATION = "alpha"
"""The parameter of variants that lie between the zero-shot model (0) and the fine-tuned one (1): drawn as a path."""

# The hues of Okabe and Ito's palette for colour-blind readers, at a lightness that shows on white and on black.
COLOURS = ("#d9661f", "#2a87d0", "#0f9d76", "#c66ba0", "#b98200", "#7a6fd0")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "pentagon")
NEUTRAL = "#888888"
PLOT_HEIGHT, CHART_WIDTH, LEGEND_LINE = 420, 480, 19
"""Pixels: of the plot with its axes, of a chart where two stand side by side on a small screen, of a line of the legend."""
LETTER_WIDTH, LEGEND_SYMBOL = 7.5, 45
"""Pixels of a letter of the legend, and of the symbol before a name with the gap after it."""

Style = Mapping[str, str]
Figure = dict[str, Any]
"""A plotly figure as JSON: {'data': traces, 'layout': layout}."""


MOST_NAMED = 150
"""Rows of a table whose points have names in a legend, error bars and seeds; of more, points of one look are one trace."""

Axes = Literal["linear", "logit"]
LOWEST = 0.001
"""Accuracies closer to 0 or 1 than this are drawn there on logit axes, which have no end."""


@dataclass(frozen=True)
class Scale:
    """Where an accuracy stands on an axis: in percent, or as log(p / (1 - p)), in which robustness lies on lines."""

    axes: Axes = "linear"

    def at(self, fraction: float | None) -> float | None:
        """Coordinate of an accuracy."""
        return None if fraction is None else self.place(fraction)

    def place(self, fraction: float) -> float:
        """The same for one that is there."""
        if self.axes == "linear":
            return 100 * fraction
        inside = min(max(fraction, LOWEST), 1 - LOWEST)
        return math.log(inside / (1 - inside))

    def fraction(self, place: float) -> float:
        """The accuracy at a coordinate, within (0, 1)."""
        inside = place / 100 if self.axes == "linear" else 1 / (1 + math.exp(-place))
        return min(max(inside, 1e-6), 1 - 1e-6)

    def ticks(self, low: float, high: float) -> dict[str, Any]:
        """What an axis from `low` to `high` has to be told; accuracies in percent stand at it on either scale."""
        if self.axes == "linear":
            return {}
        for step in (10, 5, 2, 1, 0.5, 0.2):
            shown = [n * step for n in range(1, round(100 / step)) if low <= self.place(n * step / 100) <= high]
            if len(shown) >= 4:
                break
        return {"tickvals": [self.place(value / 100) for value in shown], "ticktext": [f"{v:g}" for v in shown]}

    def bars(
        self, series: Sequence[Series], intervals: Sequence[Interval | None], colour: str | None = None
    ) -> dict[str, Any]:
        """Error bars: the interval where there is one, else the standard deviation over seeds."""
        ends = [_ends(of, interval) for of, interval in zip(series, intervals, strict=True)]
        middles = [of.mean or 0.0 for of in series]
        bars: dict[str, Any] = {
            "type": "data",
            "symmetric": False,
            "array": [self.place(high) - self.place(mean) for mean, (_, high) in zip(middles, ends, strict=True)],
            "arrayminus": [self.place(mean) - self.place(low) for mean, (low, _) in zip(middles, ends, strict=True)],
            "thickness": 1,
            "width": 3,
            "visible": any(high > low for low, high in ends),
        }
        return {**bars, **({"color": colour} if colour else {})}


def _ends(series: Series, interval: Interval | None) -> tuple[float, float]:
    if interval is not None:
        return interval.low, interval.high
    mean, spread = series.mean or 0.0, series.sd or 0.0
    return mean - spread, mean + spread


def places(table: Table) -> dict[int, int]:
    """id(row) -> its index in the table: rows are large, and comparing them takes long."""
    return {id(row): index for index, row in enumerate(table.rows)}


def is_crowded(table: Table) -> bool:
    """Whether a table has more rows than a legend could name."""
    return len(table.rows) > MOST_NAMED


def on_path(row: Row) -> bool:
    """Whether a row lies between the zero-shot model and a fine-tuned one."""
    return INTERPOLATION in row.parameters


def row_key(row: Row) -> tuple[str, str | None]:
    """What has a colour and a symbol: a method, and what it builds on."""
    return row.label, row.of


def styles_of(table: Table) -> dict[tuple[str, str | None], Style]:
    """Colour and symbol of each method; what is derived from a method has its colour and open symbols.

    A row that was chosen among the others is a ring, which lies around the row that it is.
    """
    styles: dict[tuple[str, str | None], Style] = {}
    keys = list(dict.fromkeys(row_key(row) for row in table.rows if row is not table.zero_shot))
    rings = {row_key(row) for row in table.rows if row.chosen}
    styles |= {key: {"colour": NEUTRAL, "symbol": "circle-open"} for key in keys if key in rings}
    keys = [key for key in keys if key not in rings]
    bases = [key for key in keys if key[1] is None]
    for index, key in enumerate(bases):
        styles[key] = {"colour": COLOURS[index % len(COLOURS)], "symbol": SYMBOLS[index % len(SYMBOLS)]}
    positions = {key: index for index, key in enumerate(bases)}
    derived = [(label, of) for label, of in keys if of is not None]
    siblings: Counter[str] = Counter()
    for index, (label, of) in enumerate(derived):
        base = styles.get((of, None))
        rank = siblings[of] + (positions[of, None] if base else index)
        siblings[of] += 1
        colour = base["colour"] if base else COLOURS[(len(bases) + index) % len(COLOURS)]
        styles[label, of] = {"colour": colour, "symbol": f"{SYMBOLS[rank % len(SYMBOLS)]}-open"}
    return styles


def make_room(figure: Figure) -> None:
    """Height for the legend below the plot: a long one must not take the plot's."""
    names = [
        re.sub("<[^>]+>", "", trace["name"])
        for trace in figure["data"]
        if "name" in trace and trace.get("showlegend", True)
    ]
    width = max((len(html.unescape(text)) for text in names), default=0) * LETTER_WIDTH + LEGEND_SYMBOL
    lines = math.ceil(len(names) / max(1, CHART_WIDTH // width))
    figure["layout"]["height"] = PLOT_HEIGHT + LEGEND_LINE * lines


def as_percent(value: float | None) -> float | None:
    """A fraction in percent."""
    return None if value is None else 100 * value


def escape_html(text: str) -> str:
    """A name where plotly expects its subset of HTML."""
    return html.escape(text, quote=False)


def new_figure(x: str, y: str) -> Figure:
    """A figure without traces; `x` and `y` are the titles of the axes."""
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


def add(figure: Figure, **trace: Any) -> None:
    """Add a trace, a scatter unless it says otherwise."""
    figure["data"].append({"type": "scatter", **trace})


def around(series: Sequence[Series], intervals: Sequence[Interval | None]) -> list[float]:
    """An axis around all means and seeds; an interval may run out of it by half its length."""
    values = [100 * value for of in series for value in of.values.values()]
    low, high = min(values), max(values)
    spread = max(high - low, 5.0)
    ends = [100 * end for limits in intervals if limits for end in (limits.low, limits.high)]
    low = max(min([low, *ends]), low - spread / 2)
    high = min(max([high, *ends]), high + spread / 2)
    return [low - 0.04 * spread, high + 0.04 * spread]
