"""A filled view as one HTML file: tables without scripts, figures drawn by an embedded plotly. No ray, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.report.offline import TEMPLATES, environment, policy, rounded, scripts
from orchestrator.views.drawing import Drawn, panel_figures
from orchestrator.views.join import FilledPanel, FilledView
from orchestrator.views.text import facts, legend, parts, remarks, shown

HERE = Path(__file__).parent
SCRIPTS = (*(TEMPLATES / name for name in ("data.js", "theme.js", "legend.js")), HERE / "figures.js")
"""What draws the figures of a view's page, after plotly."""
CLOSED = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""The policy of a page without scripts."""


def html_text(filled: FilledView) -> str:
    """The page. All text is escaped; its policy allows no request, and no scripts but those that draw its figures."""
    drawn = [list(panel_figures(panel)) if filled.view.figure else [] for panel in filled.panels]
    embedded_scripts = scripts(SCRIPTS) if any(drawn) else []
    return (
        environment(HERE)
        .get_template("view.html.j2")
        .render(
            title=filled.view.title,
            legend=legend(filled),
            policy=policy(embedded_scripts) if embedded_scripts else CLOSED,
            scripts=embedded_scripts,
            panels=[
                _panel(panel, found, filled.view.figure) for panel, found in zip(filled.panels, drawn, strict=True)
            ],
        )
    )


def chart(drawn: Drawn) -> dict[str, Any]:
    """What `charts.html.j2` shows of a figure."""
    title = f"{drawn.name}: {drawn.title}" if drawn.name else drawn.title
    return {"title": title, "about": drawn.caption, "json": rounded(drawn.figure)}


def _panel(panel: FilledPanel, drawn: Sequence[Drawn], figure: bool) -> dict[str, Any]:
    columns = panel.panel.columns
    return {
        "title": panel.panel.title,
        "facts": facts(panel),
        "columns": [column.title for column in columns],
        "parts": parts(panel),
        "figures": [chart(one) for one in drawn],
        "undrawn": figure,
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
