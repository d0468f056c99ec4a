"""The options of `report` for the papers' tables and figures, which `orchestrator.commands.report` takes in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.bad_input import BadInputError, bad_input
from orchestrator.exit_codes import exit_codes


def _list(wanted: bool) -> None:
    if wanted:
        from orchestrator.views import ViewError, list_views

        with exit_codes(), bad_input(ViewError):
            for line in list_views():
                typer.echo(line)
        raise typer.Exit


ViewOption = Annotated[
    str | None,
    typer.Option(
        "--view",
        help="A paper's table or figure with ours beside it, `all`, or a YAML file of views: RESULTS/views/NAME.html, .md, .tex "
        "and .csv.",
        metavar="NAME",
    ),
]
ListViews = Annotated[
    bool, typer.Option("--list-views", help="List the views and what fills them.", is_eager=True, callback=_list)
]


def report_view(results: Path, name: str, others: dict[str, object]) -> None:
    """`report RESULTS --view NAME`; `others`: options that do not go with it, and their values."""
    from orchestrator.views import ViewError, build_views

    if given := [option for option, value in others.items() if value]:
        raise BadInputError([f"--view and {given[0]} do not go together"])
    with bad_input(ViewError, FileNotFoundError, NotADirectoryError, ValueError):
        for path in build_views(results, name, left_out=lambda why: typer.echo(why, err=True)):
            typer.echo(str(path))
