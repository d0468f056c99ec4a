"""The options of `report` for the papers' tables and figures, which `orchestrator.commands.report` takes in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from orchestrator.bad_input import BadInputError, bad_input
from orchestrator.exit_codes import exit_codes

Format = Literal["png", "svg", "pdf"]


def _list(wanted: bool) -> None:
    if wanted:
        from orchestrator.views import list_views, unreadable

        with exit_codes():
            for line in list_views():
                typer.echo(line)
            if problems := unreadable():
                raise BadInputError(problems)
        raise typer.Exit


ViewOption = Annotated[
    str | None,
    typer.Option(
        "--view",
        help="A paper's table or figure with ours beside it, `all`, or a YAML file of views: RESULTS/views/NAME.html, .md, .tex "
        "and .csv; with --figures its figures alone.",
        metavar="NAME",
    ),
]
ListViews = Annotated[
    bool, typer.Option("--list-views", help="List the views and what fills them.", is_eager=True, callback=_list)
]


def report_view(
    results: Path, name: str, figures: Path | None, kind: Format | None, others: Mapping[str, object]
) -> None:
    """`report RESULTS --view NAME [--figures FOLDER]`; `others`: options that do not go with it, and their values."""
    from datasets import DatasetError
    from orchestrator.facts import FactsError
    from orchestrator.records import ResultsError
    from orchestrator.report.figure_files import FigureExportError
    from orchestrator.views import ViewError, build_views, unreadable
    from orchestrator.views.extra import NotHereError
    from orchestrator.views.figure_export import export_view_figures

    if given := [option for option, value in others.items() if value]:
        raise BadInputError([f"--view and {given[0]} do not go together"])

    def left_out(why: str) -> None:
        typer.echo(why, err=True)

    wrong = (ViewError, NotHereError, DatasetError, FigureExportError, FactsError, ResultsError)
    with bad_input(*wrong, OSError):
        if figures is None:
            paths = build_views(results, name, left_out)
        else:
            paths = export_view_figures(results, name, figures, kind or "png", left_out)
    for path in paths:
        typer.echo(str(path))
    if name == "all" and (problems := unreadable()):
        raise BadInputError(problems)
