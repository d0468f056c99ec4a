"""Shows how far `prepare`, a download or `verify` is: a bar on a terminal, else a line in a slow rhythm."""

from __future__ import annotations

import time
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from datasets.shards import Done

HEARTBEAT_SECONDS = 15.0
"""Between two lines of progress where there is no terminal."""


class Display:
    """Images done of a dataset; `what` says what is done to it ('prepare domainnet')."""

    def __init__(self, what: str, console: Console) -> None:
        self._what, self._console = what, console
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task(escape(what), total=None)
        self._started = self._last_line = time.monotonic()
        self._kept = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def update(self, done: Done) -> None:
        """Take note of it. What an earlier run had done is no measure of speed."""
        if done.kept > self._kept:
            self._kept = done.kept
            self._bar.reset(self._task, completed=done.images)
        self._bar.update(
            self._task, completed=done.images, total=done.total, description=escape(f"{self._what} {done.place}")
        )
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last_line >= HEARTBEAT_SECONDS:
            self._last_line = now
            self._console.print(self._line(done, now), markup=False, highlight=False)

    def _line(self, done: Done, now: float) -> str:
        rate = (done.images - done.kept) / max(now - self._started, 1e-9)
        line = f"{self._what} {done.place}: {done.images:,} of {done.total:,} images, {rate:,.0f} images/s"
        return f"{line}, {(done.total - done.images) / rate:,.0f} s left" if rate else line


class Transfers:
    """Bytes of files that are downloaded or uploaded, one after the other."""

    def __init__(self, what: str, console: Console) -> None:
        self._what, self._console = what, console
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._bar = Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task(escape(what), total=None)
        self._last_line, self._name = time.monotonic(), ""

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def update(self, name: str, done: int, total: int | None) -> None:
        """`done` of `total` bytes of the file `name` are through; None: its size is not known."""
        if name != self._name:
            self._name = name
            self._bar.reset(self._task, total=total, description=escape(f"{self._what} {name}"))
        self._bar.update(self._task, completed=done, total=total)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last_line >= HEARTBEAT_SECONDS:
            self._last_line = now
            of = "" if total is None else f" of {total / 2**20:,.1f}"
            line = f"{self._what} {name}: {done / 2**20:,.1f}{of} MiB"
            self._console.print(line, markup=False, highlight=False)


class _Rate(ProgressColumn):
    """Images a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} images/s", style="progress.data.speed")
