"""How a command ends: wrong input and Ctrl-C become lines on stderr and exit codes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from orchestrator.bad_input import BadInputError

EXIT_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 2, 130


class Commands(TyperGroup):
    """Commands whose wrong options are said in words of this project: typer puts pydantic's before its own."""

    def invoke(self, ctx: Any) -> Any:
        """Parse the options of the command and run it."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn wrong input and Ctrl-C into lines on stderr and exit codes; everything else is a bug and keeps its traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it logs a traceback for each error that it raises as well
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("interrupted: run the same command again to continue", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except BadInputError as error:
        for problem in error.problems:
            typer.echo(problem, err=True)
        raise typer.Exit(EXIT_BAD_INPUT) from None
