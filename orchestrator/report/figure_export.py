"""The figures of a board's page as files, each choice of a figure one of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from orchestrator.analysis.aggregate import Board
from orchestrator.report.drawing import Figure
from orchestrator.report.export import heading
from orchestrator.report.figure_files import FigureExportError, Format, apart, file_name, standing_alone, write_figures
from orchestrator.report.panels import maps, panels


def export_figures(board: Board, folder: Path, kind: Format) -> list[Path]:
    """Write every figure of the board's page to `folder` and return the paths, in the order of the page.

    Raises FigureExportError if there is none, without kaleido or a browser, or if the browser fails.
    """
    named = dict(named_figures(board))
    if not named:
        raise FigureExportError("the page has no figures: no table has something trained and a shifted domain")
    return write_figures(named, folder, kind)


def named_figures(board: Board) -> Iterator[tuple[str, Figure]]:
    """(name of a file without its ending, figure as it is to be drawn) of all figures, each choice of a figure one of them."""
    return apart(_figures(board))


def _figures(board: Board) -> Iterator[tuple[str, Figure]]:
    for plan in board.plans:
        own = [table for table in board.tables if table.benchmark == plan.benchmark]
        shown = [(heading(table), figure) for table in own for figure in panels(table)]
        shown += [(plan.benchmark, figure) for figure in maps(own)]
        for where, panel in shown:
            for label, figure in zip(panel["labels"], panel["json"], strict=True):
                alone = standing_alone(figure, panel["title"], ", ".join(filter(None, (where, label))))
                yield file_name(where, panel["name"], label), alone
