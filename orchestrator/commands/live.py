"""The command line of `serve`, which `orchestrator.cli` registers, and what `report --watch` does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.bad_input import bad_input
from orchestrator.exit_codes import exit_codes

if TYPE_CHECKING:
    from orchestrator.analysis.choice import Rule

SERVE_EXAMPLES = (
    "Examples: serve results; serve results --port 8080. `run` makes the page again while trials end; for records that "
    "come another way (from other machines, say) also start: report RESULTS --watch"
)


def watch_report(results: Path, build: Callable[[], object], rule: Rule | None = None) -> None:
    """Make the page whenever records change; Ctrl-C is the way to end it and no error."""
    from orchestrator.analysis.choice import page_stem
    from orchestrator.live.rebuild import watch

    typer.echo(f"watching {results}; Ctrl-C ends it")
    try:
        with bad_input(FileNotFoundError, NotADirectoryError):
            watch(results, build, typer.echo, page=f"{page_stem(rule)}.html")
    except KeyboardInterrupt:
        typer.echo("ended")


def serve(
    results: Annotated[Path, typer.Argument(help="Folder that `run` wrote.", metavar="RESULTS")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
) -> None:
    """Show the leaderboard in a browser of this machine; the page reloads itself when it is made again. Ctrl-C ends it."""
    with exit_codes():
        from orchestrator.live.serve import ServeError, Server

        with bad_input(ServeError, FileNotFoundError):
            server = Server(results, port)
        with server:
            typer.echo(f"{server.url} shows {results / 'leaderboard.html'}; Ctrl-C ends it")
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                typer.echo("ended")
