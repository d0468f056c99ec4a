"""The options of `report` for figures as files, which `orchestrator.commands.report` takes in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from orchestrator.bad_input import bad_input

if TYPE_CHECKING:
    from orchestrator.analysis.choice import Rule

FiguresOption = Annotated[
    Path | None,
    typer.Option(
        "--figures",
        help="Write the figures of the page, or those of --view, as files into this folder instead; needs the extra "
        "`figures` and Chrome or Chromium.",
        metavar="FOLDER",
    ),
]
FormatOption = Annotated[
    Literal["png", "svg", "pdf"] | None, typer.Option("--format", help="Of the files of --figures; default: png.")
]


def report_figures(
    results: Path, rule: Rule | None, ece_bins: int, folder: Path, kind: Literal["png", "svg", "pdf"]
) -> None:
    """`report RESULTS --figures FOLDER`."""
    from orchestrator.records import ResultsError
    from orchestrator.report import read_board
    from orchestrator.report.figure_export import export_figures
    from orchestrator.report.figure_files import FigureExportError, ready

    with bad_input(FigureExportError, ResultsError, OSError):
        ready(folder, kind)
        paths = export_figures(read_board(results, rule, ece_bins), folder, kind)
    for path in paths:  # not within: a closed pipe is no wrong input
        typer.echo(str(path))
