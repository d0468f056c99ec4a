"""Prepares a dataset for the command line: shows how far it is and says what was done."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

import datasets
from datasets.base import DatasetInfo
from datasets.shards import FILE_NAME, Prepared, write_prepared

HEARTBEAT_SECONDS = 15.0
"""Between two lines of progress where there is no terminal."""


def prepare(
    name_or_card: str,
    source: Path | None,
    to: Path,
    short_side: int | None,
    console: Console | None = None,
) -> Prepared:
    """Turn a dataset into shards under `to`, or verify the hashes if that is done already.

    `source` is the folder or archive with the published files (None for a generated dataset); `short_side` in pixels
    reduces larger images. On a terminal it shows a bar, elsewhere a line every 15 s; `Console(quiet=True)` shows nothing.
    Raises datasets.DatasetError and FileNotFoundError with messages for the user.
    """
    console = console or Console(soft_wrap=True)
    dataset = datasets.load(name_or_card)
    if dataset.generated and source is not None:
        raise datasets.DatasetError(f"dataset {dataset.info.name} is made from nothing; leave out the source {source}")
    started, done_before = time.monotonic(), (to / FILE_NAME).exists()
    with _Display(dataset.info, console) if not done_before else nullcontext() as display:
        prepared = write_prepared(dataset, to, source, short_side, display.update if display else None)
    images, size = sum(shard.count for shard in prepared.shards), sum(shard.bytes for shard in prepared.shards)
    verb = "is prepared already; verified" if done_before else "prepared:"
    console.print(
        f"{prepared.name} {verb} {images:,} images in {len(prepared.shards)} shards, {size / 2**20:,.1f} MiB, "
        f"{time.monotonic() - started:.1f} s, at {to}",
        markup=False,
        highlight=False,
    )
    return prepared


class _Display:
    """Progress of `write_prepared`: a bar on a terminal, else lines in a slow rhythm."""

    def __init__(self, info: DatasetInfo, console: Console) -> None:
        self._name, self._console = info.name, console
        self._total = sum(sum(splits.values()) for splits in info.counts.values()) or None
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(f"prepare {escape(info.name)}", total=self._total)
        self._finished, self._current, self._in_current = 0, "", 0
        self._last_line = time.monotonic()
        self._base = (0, self._last_line)

    def __enter__(self) -> _Display:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def update(self, place: str, done: int) -> None:
        """Take note that `done` images of the split `place` are through."""
        if place != self._current:
            self._finished, self._current, self._in_current = self._finished + self._in_current, place, 0
        total_done = self._finished + done
        if done > self._in_current + 1:  # a split that an earlier run finished comes at once: no measure of speed
            self._base = (total_done, time.monotonic())
        self._in_current = done
        self._bar.update(self._task, completed=total_done, description=f"prepare {escape(f'{self._name} {place}')}")
        if not self._console.is_terminal and time.monotonic() - self._last_line >= HEARTBEAT_SECONDS:
            self._last_line = time.monotonic()
            self._console.print(self._line(place, total_done), markup=False, highlight=False)

    def _line(self, place: str, done: int) -> str:
        base, since = self._base
        rate = (done - base) / max(time.monotonic() - since, 1e-9)
        line = f"prepare {self._name} {place}: {done:,} images, {rate:,.0f} images/s"
        return line if self._total is None or not rate else f"{line}, {max(self._total - done, 0) / rate:,.0f} s left"


class _Rate(ProgressColumn):
    """Images a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} images/s", style="progress.data.speed")
