"""A filled view as one HTML file without scripts, with a drawing for figures. No ray, no torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from orchestrator.views.join import FilledPanel, FilledView
from orchestrator.views.text import legend, remarks, shown

WIDTH, HEIGHT, MARGIN = 640, 400, 60
"""of a drawing, in its own units"""
NUM_TICKS = 5


def html_text(filled: FilledView) -> str:
    """The page. All text is escaped, and its policy allows neither scripts nor requests."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("view.html.j2").render(
        title=filled.view.title,
        legend=legend(filled),
        panels=[_panel(panel, filled.view.figure) for panel in filled.panels],
    )


def _panel(panel: FilledPanel, figure: bool) -> dict[str, Any]:
    columns = panel.panel.columns
    return {
        "title": panel.panel.title,
        "columns": [column.title for column in columns],
        "figure": _figure(panel) if figure else "",
        "remarks": list(remarks(panel)),
        "lines": [
            {
                "title": line.row.title,
                "cells": [
                    {"text": shown(cell, column), "why": cell.ours.why, "against": "; ".join(cell.differences)}
                    for cell, column in zip(line.cells, columns, strict=True)
                ],
            }
            for line in panel.lines
        ],
    }


def _points(panel: FilledPanel) -> Iterator[tuple[str, str, float, float]]:
    """(row, whose, shift, reference): the last column against the first."""
    for line in panel.lines:
        first, last = line.cells[0], line.cells[-1]
        if first.published and last.published:
            yield line.row.title, "published", last.published.mean, first.published.mean
        if first.ours.mean is not None and last.ours.mean is not None:
            yield line.row.title, "ours", last.ours.mean, first.ours.mean


def _figure(panel: FilledPanel) -> Markup:
    """The scatter as SVG: hollow points are published, filled ones ours; a remark without any point."""
    points = list(_points(panel))
    if not points:
        return Markup("<p>Nothing to draw yet.</p>")
    lows, highs = zip(
        _range([shift for *_, shift, _ in points]), _range([reference for *_, reference in points]), strict=True
    )

    def place(shift: float, reference: float) -> tuple[float, float]:
        x = MARGIN + (WIDTH - 2 * MARGIN) * (shift - lows[0]) / (highs[0] - lows[0])
        y = HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (reference - lows[1]) / (highs[1] - lows[1])
        return round(x, 1), round(y, 1)

    columns = panel.panel.columns
    title = f"{panel.panel.title}: {columns[0].title} against {columns[-1].title}"
    parts = [
        Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}" font-size="12" fill="currentColor">').format(
            WIDTH, HEIGHT, title
        ),
        *_axes(lows, highs, (columns[-1].title, columns[0].title)),
    ]
    for name, whose, shift, reference in points:
        x, y = place(shift, reference)
        label = f"{name}, {whose}: {columns[0].title} {reference:.2f}, {columns[-1].title} {shift:.2f}"
        fill = "none" if whose == "published" else "#0072B2"
        mark = Markup(
            '<circle cx="{}" cy="{}" r="5" stroke="#0072B2" stroke-width="1.5" fill="{}"><title>{}</title></circle>'
        )
        parts.append(mark.format(x, y, fill, label))
    key = "hollow: published, filled: ours; a point's name is shown under the pointer and stands in the table"
    parts.append(Markup('<text x="{}" y="16">{}</text></svg>').format(MARGIN, key))
    return Markup("").join(parts)


def _range(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 1.0
    return low - room, high + room


def _axes(lows: tuple[float, ...], highs: tuple[float, ...], names: tuple[str, str]) -> Iterator[Markup]:
    left, bottom = MARGIN, HEIGHT - MARGIN
    path = f"M{left} {MARGIN / 2} V{bottom} H{WIDTH - MARGIN / 2}"
    yield Markup('<path d="{}" fill="none" stroke="currentColor"/>').format(path)
    text = Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>')
    for tick in range(NUM_TICKS):
        share = tick / (NUM_TICKS - 1)
        x, y = left + share * (WIDTH - 2 * MARGIN), bottom - share * (HEIGHT - 2 * MARGIN)
        yield text.format(round(x, 1), bottom + 18, "middle", f"{lows[0] + share * (highs[0] - lows[0]):.3g}")
        yield text.format(left - 6, round(y + 4, 1), "end", f"{lows[1] + share * (highs[1] - lows[1]):.3g}")
    yield text.format(WIDTH / 2, HEIGHT - 12, "middle", names[0])
    across = Markup('<text transform="translate(14 {}) rotate(-90)" text-anchor="middle">{}</text>')
    yield across.format(HEIGHT / 2, escape(names[1]))
