"""What the user sees while a sweep runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator.records import Results, TrialRecord
from orchestrator.spec import PlannedTrial
from orchestrator.transfer import places

HEARTBEAT_S = 30.0
MAX_ROWS = 16
"""Running trials shown in the live table; the rest is counted."""
MAX_FAILURES = 20
"""Failures listed at the end; the rest is counted."""


@dataclass
class Running:
    """A trial that a slot works on."""

    slot: int
    attempt: int
    since: float
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def fraction(self) -> float | None:
        """Share of its steps that is done, None before the first report."""
        steps = self.metrics.get("num_steps")
        return min(self.metrics.get("step", 0.0) / steps, 1.0) if steps else None


@dataclass
class Board:
    """Counts and times of a sweep; no output, no clock of its own."""

    trials: Mapping[str, PlannedTrial]
    slots: int
    start: float
    running: dict[str, Running] = field(default_factory=dict)
    completed: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    durations: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """method -> seconds of its finished trials"""

    @property
    def waiting(self) -> int:
        """Trials that nobody works on yet."""
        return len(self.trials) - self.completed - len(self.failed) - len(self.running)

    @property
    def images_per_second(self) -> float:
        """Over all running trials."""
        return sum(run.metrics.get("images_per_second", 0.0) for run in list(self.running.values()))

    def event(self, id: str, event: Mapping[str, Any], now: float) -> None:
        """An event of the broker: 'started' or 'metrics'."""
        if event["kind"] == "started":
            self.running[id] = Running(event["slot"], event["attempt"], now)
        elif event["kind"] == "metrics" and id in self.running:
            metrics = self.running[id].metrics
            metrics.pop("shards_needed", None)  # whatever else a trial reports, it does not wait for shards
            metrics.update(event["metrics"])

    def end(self, id: str, reason: str | None, now: float) -> float | None:
        """A trial is over, with a reason if it failed. Returns the seconds it ran, None if it never did."""
        run = self.running.pop(id, None)
        seconds = now - run.since if run else None
        if reason is not None:
            self.failed[id] = reason
        else:
            self.completed += 1
            if seconds is not None:
                self.durations[self.trials[id].spec.method].append(seconds)
        return seconds

    def time_left(self, now: float, unstarted: Sequence[str]) -> float | None:
        """Seconds, from the mean time of finished trials of each method; None while nothing has finished."""
        if not self.durations:
            return None
        overall = fmean(seconds for group in list(self.durations.values()) for seconds in group)
        work = 0.0
        for id in unstarted:
            work += self._expected(id, overall)
        for id, run in list(self.running.items()):
            elapsed = now - run.since
            fraction = run.fraction
            whole = elapsed / fraction if fraction else self._expected(id, overall)
            work += max(whole - elapsed, 0.0)
        return work / max(self.slots, 1)

    def _expected(self, id: str, otherwise: float) -> float:
        group = self.durations.get(self.trials[id].spec.method)
        return fmean(group) if group else otherwise

    def unstarted(self, ended: set[str]) -> list[str]:
        """Ids of trials that neither run nor are among `ended`."""
        return [id for id in self.trials if id not in ended and id not in self.running]


class Progress:
    """Shows a `Board`. Use as a context manager; all methods are called from the driver's main thread.

    The live table is drawn by a thread of rich, so what it reads of the board is copied first.
    """

    def __init__(
        self,
        trials: Sequence[PlannedTrial],
        slots: int,
        results: Results,
        console: Console,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self.board = Board({trial.id: trial for trial in trials}, slots, clock())
        self._results = results
        self._console = console
        self._ended: set[str] = set()
        self._last_beat = clock()
        # No redirection: whoever prints beside the table is a fault that should be seen.
        self._live = Live(get_renderable=self._table, console=console, refresh_per_second=2, redirect_stdout=False)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._console.is_terminal:
            self._live.stop()
        for line in self._failures():
            self.say(line, "red")

    @property
    def on_terminal(self) -> bool:
        """True where a person watches."""
        return self._console.is_terminal

    def event(self, id: str, event: Mapping[str, Any]) -> None:
        """An event of the broker that is no verdict."""
        self.board.event(id, event, self._clock())
        if event["kind"] == "started" and event["attempt"] > 1:
            self.say(f"{id}: its worker was lost, attempt {event['attempt']} starts", "yellow")

    def end(self, id: str, record: TrialRecord | None, reason: str | None) -> None:
        """A trial is over: one line. `reason` tells why it failed."""
        seconds = self.board.end(id, reason, self._clock())
        self._ended.add(id)
        took = f"  {seconds:.1f} s" if seconds is not None else ""
        count = f"[{len(self._ended):>{len(str(len(self.board.trials)))}}/{len(self.board.trials)}]"
        if reason is not None:
            where = self._results.record(id)
            self.say(f"{count} {id}  FAILED{took}  {one_line(reason)}  ({where})", "red")
        elif record is not None:
            self.say(f"{count} {id}  {accuracies(record)}{took}")

    def beat(self, remark: str = "") -> None:
        """Called often; without a terminal it says every 30 s that the sweep is alive."""
        now = self._clock()
        if self._console.is_terminal or now - self._last_beat < HEARTBEAT_S:
            return
        self._last_beat = now
        self.say(f"{self._status(now)}{f'; {remark}' if remark else ''}")

    def say(self, line: str, style: str = "") -> None:
        """One line that stays, above the live table if there is one."""
        self._console.print(Text(line, style=style), soft_wrap=True)

    def _failures(self) -> list[str]:
        """All failures once more, since in a long sweep their lines are far up."""
        failed = list(self.board.failed.items())
        if not failed:
            return []
        lines = [f"{len(failed)} of {len(self.board.trials)} trials failed:"]
        lines += [f"  {id}: {one_line(reason)}  ({self._results.record(id)})" for id, reason in failed[:MAX_FAILURES]]
        if len(failed) > MAX_FAILURES:
            lines.append(f"  and {len(failed) - MAX_FAILURES} more")
        return lines

    def _status(self, now: float) -> str:
        board = self.board
        left = board.time_left(now, board.unstarted(self._ended))
        parts = [
            f"{board.completed} done, {len(board.running)} running, {board.waiting} waiting, {len(board.failed)} failed",
            f"{duration(now - board.start)} elapsed",
        ]
        if left is not None:
            parts.append(f"about {duration(left)} left")
        if board.images_per_second:
            parts.append(f"{board.images_per_second:,.0f} images/s")
        parts += filter(None, [max((shards_ready(run.metrics) for run in list(board.running.values())), default="")])
        return ", ".join(parts)

    def _table(self) -> Group:
        now = self._clock()
        table = Table(box=None, pad_edge=False)
        table.add_column("running")
        for heading in ("step", "loss", "images/s", "seconds"):
            table.add_column(heading, justify="right")
        shown = list(self.board.running.items())[:MAX_ROWS]
        for id, run in shown:
            metrics = run.metrics
            step = f"{metrics.get('step', 0):.0f}/{metrics['num_steps']:.0f}" if "num_steps" in metrics else ""
            step = shards_ready(metrics) or step
            loss = f"{metrics['loss']:.4g}" if "loss" in metrics else ""
            rate = f"{metrics['images_per_second']:,.0f}" if "images_per_second" in metrics else ""
            table.add_row(Text(id), step, loss, rate, f"{now - run.since:.0f}")
        more = len(self.board.running) - len(shown)
        return Group(table, Text(f"and {more} more") if more else Text(""), Text(self._status(now), style="bold"))


def shards_ready(metrics: Mapping[str, float]) -> str:
    """'12 of 420 shards ready' while a trial waits for data that are fetched, or hashed for the first time on their node."""
    here, needed = metrics.get("shards_here", 0), metrics.get("shards_needed", 0)
    return f"{here:.0f} of {needed:.0f} shards ready" if here < needed else ""


def accuracies(record: TrialRecord) -> str:
    """'reference 41.2 %, shifted 35.0 %' of a completed record; ranges over its variants when there are several."""
    references, transferred = set(record.spec.data.sources), places(record.spec.data.transfer)
    by_kind: dict[str, defaultdict[str, list[float]]] = {}
    for evaluation in record.evaluations:
        of_pool = record.spec.data.target_split == "in" and evaluation.domain in references
        if evaluation.split == ("val" if of_pool else "test"):
            kind = ("reference" if evaluation.domain in references else "shifted") if references else "all domains"
            kind = "transfer" if evaluation.domain in transferred else kind
            by_kind.setdefault(kind, defaultdict(list))[evaluation.variant].append(evaluation.accuracy)
    parts = []
    for kind in ("reference", "shifted", "all domains", "transfer"):
        if kind in by_kind:
            means = [fmean(values) for values in by_kind[kind].values()]
            low, high = f"{100 * min(means):.1f}", f"{100 * max(means):.1f}"
            parts.append(f"{kind} {low if low == high else f'{low}-{high}'} %")
    variants = {evaluation.variant for evaluation in record.evaluations}
    return ", ".join(parts) + (f" ({len(variants)} variants)" if len(variants) > 1 else "")


def one_line(text: str, limit: int = 300) -> str:
    """The first line of a message, shortened."""
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return first if len(first) <= limit else f"{first[: limit - 1]}…"


def duration(seconds: float) -> str:
    """'45 s', '12 min', '3 h 05 min'."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
