"""The example images of a dataset as one figure, for files: rows are domains, columns are classes. No ray, no torch."""

from __future__ import annotations

import textwrap
from base64 import b64encode

from orchestrator.report.drawing import Figure, add, escape_html, new_figure
from orchestrator.views.gallery import Dataset

CELL, GAP = 88, 8
"""Pixels of a place, and of the gap between two pictures."""
LEFT, TOP, NARROWEST = 130, 44, 560
"""Pixels: room for the domains' names, for those of the classes, and the least width, for the figure's title."""
LETTERS = 13
"""of a class's name in one line"""
MOST_LETTERS = 26


def contact_sheet(dataset: Dataset) -> Figure:
    """All pictures in their places; where there is none stands a dash."""
    figure = new_figure("", "")
    classes = [example.classname for example in dataset.rows[0].examples]
    places = [(x, y, example) for y, row in enumerate(dataset.rows) for x, example in enumerate(row.examples)]
    empty = [(x, y) for x, y, example in places if not example.jpeg]
    add(figure, x=[x for x, _ in empty], y=[y for _, y in empty], mode="text", text=["\u2013"] * len(empty))
    share = (CELL - GAP) / CELL
    images = [
        {
            "source": f"data:image/jpeg;base64,{b64encode(example.jpeg).decode()}",
            **{"xref": "x", "yref": "y", "x": x, "y": y, "sizex": share, "sizey": share},
            **{"xanchor": "center", "yanchor": "middle", "sizing": "contain", "layer": "above"},
        }
        for x, y, example in places
        if example.jpeg
    ]
    axis = {"showgrid": False, "zeroline": False, "showline": False, "ticks": "", "tickangle": 0, "automargin": False}
    width, height = CELL * len(classes), CELL * len(dataset.rows)
    right = max(GAP, NARROWEST - LEFT - width)
    domains = [_lines(f"{row.domain}") + f"<br>{row.num_images:,} {row.split}" for row in dataset.rows]
    figure["layout"] |= {
        "images": images,
        "margin": {"l": LEFT, "r": right, "t": TOP, "b": GAP},
        "width": LEFT + width + right,
        "height": TOP + height + GAP,
        "xaxis": {
            **axis,
            "side": "top",
            **_ticks([_lines(name) for name in classes]),
            "range": [-0.5, len(classes) - 0.5],
        },
        "yaxis": {**axis, **_ticks(domains), "range": [len(dataset.rows) - 0.5, -0.5]},
    }
    return figure


def _ticks(texts: list[str]) -> dict[str, object]:
    return {"tickvals": list(range(len(texts))), "ticktext": texts}


def _lines(name: str) -> str:
    """A name that fits its place: in up to two lines, and cut if it is longer."""
    cut = name if len(name) <= MOST_LETTERS else name[: MOST_LETTERS - 1] + "…"
    return "<br>".join(escape_html(line) for line in textwrap.wrap(cut, LETTERS))
