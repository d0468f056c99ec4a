"""The figures of views as files. No ray, no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from orchestrator.records import Results
from orchestrator.report.drawing import Figure
from orchestrator.report.figure_files import (
    FigureExportError,
    Format,
    apart,
    file_name,
    ready,
    standing_alone,
    write_figures,
)
from orchestrator.views.catalog import find
from orchestrator.views.drawing import Drawn, figures
from orchestrator.views.extra import ExtraView, NotHereError
from orchestrator.views.join import load
from orchestrator.views.spec import View

TABLES = "no figure, they are tables"
NOTHING = "nothing to draw yet, their benchmarks were not run"


def export_view_figures(
    results: Path, name: str, folder: Path, kind: Format, left_out: Callable[[str], None]
) -> list[Path]:
    """Write every figure of a view, of a file's views or of 'all' as `folder`/VIEW-PANEL-FIGURE.`kind`; returns the paths.

    `left_out` is told which of several views have no figure, and why. Raises FigureExportError if none has one, without
    kaleido or a browser, or if the browser fails (nothing is written then); the rest as `build_views`.
    """
    chosen = find(name)
    if not results.is_dir():
        raise FileNotFoundError(f"{results}: no such folder of results")
    ready(folder, kind)
    joiner = load(Results(results))
    named: list[tuple[str, Figure]] = []
    without: dict[str, list[str]] = {}
    for view in chosen:
        try:
            drawn = view.draw(results) if isinstance(view, ExtraView) else figures(joiner.fill(view))
        except NotHereError as error:
            without[str(error)] = []
            continue
        if not drawn:
            without.setdefault(_why(view), []).append(view.name)
        named += [_named(view, one) for one in drawn]
    lines = [f"{', '.join(names)}: {why}" if names else why for why, names in without.items()]
    if not named:
        raise FigureExportError("; ".join(lines))
    for line in lines:
        left_out(f"left out: {line}")
    return write_figures(dict(apart(named)), folder, kind)


def _why(view: View | ExtraView) -> str:
    return TABLES if isinstance(view, View) and not view.figure else NOTHING


def _named(view: View | ExtraView, drawn: Drawn) -> tuple[str, Figure]:
    """The name of its file without the ending, and the figure with what stands beside it on the page."""
    where = ", ".join(filter(None, (drawn.section, drawn.name)))
    below = "\n".join(filter(None, (where, f"After {view.source}.", drawn.caption)))
    return file_name(view.name, drawn.section, drawn.name), standing_alone(drawn.figure, view.title, below)
