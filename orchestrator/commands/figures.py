"""The options of `report` for figures as files, which `orchestrator.cli` takes in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from orchestrator.bad_input import BadInputError, bad_input

if TYPE_CHECKING:
    from orchestrator.analysis.choice import Rule

FiguresOption = Annotated[
    Path | None,
    typer.Option(
        "--figures",
        help="Write the page's figures as files into this folder instead; needs the extra `figures` and Chrome or Chromium.",
        metavar="FOLDER",
    ),
]
FormatOption = Annotated[
    Literal["png", "svg", "pdf"] | None, typer.Option("--format", help="Of the files of --figures; default: png.")
]


def report_figures(
    results: Path, rule: Rule | None, folder: Path, kind: Literal["png", "svg", "pdf"], watch: bool
) -> None:
    """`report RESULTS --figures FOLDER`."""
    from orchestrator.report import read_board
    from orchestrator.report.figure_export import export_figures

    if watch:
        raise BadInputError(["--figures and --watch do not go together"])
    with bad_input(FileNotFoundError, FileExistsError, NotADirectoryError, ValueError):
        for path in export_figures(read_board(results, rule), folder, kind):
            typer.echo(str(path))
