"""The last lines of a trial's log, for the page."""

from __future__ import annotations

import os
from collections.abc import Callable

from orchestrator.records import Results

LINES = 3
CHARACTERS = 200
"""of a line; the rest is in the file"""
_BYTES = 4096
"""Read from the end of a log, whatever its length."""

LogTail = Callable[[str], tuple[str, ...]]
"""Trial id to the last lines of its log; () without one."""


def no_log(id: str) -> tuple[str, ...]:
    """For a board that comes from no folder."""
    return ()


def log_tail(results: Results) -> LogTail:
    """The last lines of the logs in a folder of results."""

    def tail(id: str) -> tuple[str, ...]:
        try:
            with (results.trial(id) / "log.txt").open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _BYTES))
                lines = file.read().decode("utf-8", "replace").splitlines()
        except OSError:  # logs may be left out when results are copied
            return ()
        whole = lines if size <= _BYTES else lines[1:]  # the first one was cut
        return tuple(line[:CHARACTERS] for line in whole[-LINES:])

    return tail
