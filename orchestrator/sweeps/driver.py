"""The driver's side of a sweep that runs: what Tune, the pool, the records and the display have to do with each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.planning.gate import GateError, waits
from orchestrator.records import Results, TrialRecord, read_record, write_record
from orchestrator.spec import PlannedTrial
from orchestrator.sweeps.interrupts import Interrupts
from orchestrator.sweeps.observers import Observer
from orchestrator.sweeps.progress import duration

if TYPE_CHECKING:
    from orchestrator.sweeps.pool import Pool
    from orchestrator.sweeps.progress import Progress


class SweepError(RuntimeError):
    """The sweep cannot run or go on; the message says why and what to do. Trials that were done stay done."""


class SweepRefusedError(SweepError):
    """The sweep was not begun: what was asked for cannot be."""


def readable_record(results: Results, id: str) -> TrialRecord | None:
    """A record, None if there is none that can be read: such a trial is run again."""
    try:
        return read_record(results.record(id))
    except (FileNotFoundError, ValueError):
        return None


class Driver:
    """The driver's view of a running sweep: connects Tune, the pool, the records and the display."""

    def __init__(
        self,
        ended: dict[str, str | None],
        results: Results,
        pool: Pool,
        progress: Progress,
        storage: Path,
        interrupts: Interrupts,
        strict: bool = False,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._ended = ended
        self._results = results
        self._pool = pool
        self._progress = progress
        self._storage = storage
        self._interrupts = interrupts
        self._strict = strict
        self._observers = observers
        self._short: list[str] = []
        self._told: set[int] = set()
        self._noted: set[str] = set()

    def run_batch(self, trials: Sequence[PlannedTrial], number: int) -> None:
        """Run trials, whose inputs are among them or in earlier batches, to their ends."""
        import ray

        from orchestrator.sweeps.relay import run_tuner
        from orchestrator.sweeps.searcher import Graph

        self._trials = {trial.id: trial for trial in trials}
        ray.get(self._pool.broker.offer.remote({trial.id: trial.model_dump_json() for trial in trials}))
        self._graph = Graph(trials, self._ended, waits(trials, self._strict))
        self._fail_doomed()
        if not self._graph.exhausted:
            run_tuner(self, self._graph, self._pool, self._storage, f"tune{number}", len(trials))
        if missing := [id for id in self._trials if id not in self._ended]:
            raise SweepError(f"{len(missing)} trials were never run, {missing[0]} first: Tune stopped early")

    def on_event(self, id: str, event: Mapping[str, Any]) -> None:
        """An event of a trial, relayed by Tune. A verdict is left to `on_end`."""
        if event.get("kind") in ("started", "metrics"):
            self._progress.event(id, event)
            for observer in self._observers:
                observer.event(self._trials[id], event)

    def on_end(self, id: str, result: Mapping[str, Any] | None, error: bool) -> None:
        """The Tune trial of `id` is over. What counts is the record."""
        record = readable_record(self._results, id)
        reason: str | None = None
        if record is None or record.status == "failed":
            reason = self._why(id, record, result, error)
        self._close(id, record, reason)
        for line in record.warnings if record else ():
            self._progress.say(f"WARNING {id}: {line}", "bold red")
        for line in record.notes if record else ():
            # Its sums differ from trial to trial; what it is about, which stands first, does not.
            if (about := line.partition(": ")[0]) not in self._noted:
                self._noted.add(about)
                self._progress.say(line, "yellow")
        if self._strict and self._trials[id].expected and (reason or (record and record.warnings)):
            self._short.append(id)  # for the graph it has not ended: what waits for it is not handed out
        else:
            self._graph.end(id, reason)
        self._fail_doomed()

    def on_tick(self) -> None:
        """Called by Tune several times a second.

        Raises PoolError if no slot is left, GateError if the last trial of the gate is over and one has not passed, and
        KeyboardInterrupt after a signal.
        """
        self._interrupts.check()
        if self._short and all(id in self._ended for id, trial in self._trials.items() if trial.expected):
            raise GateError(f"{', '.join(self._short)} did not reach what is published")
        for slot, reason in self._pool.broken.items():
            if slot not in self._told:
                self._told.add(slot)
                self._progress.say(f"slot {slot} is out of service: {reason}", "red")
        for id, seconds in self._pool.end_silent():
            since = datetime.now(UTC) - timedelta(seconds=seconds)
            self._progress.say(
                f"{id}: no sign of life since {since:%H:%M:%S} UTC ({duration(seconds)}): its workers are ended, as lost ones",
                "yellow",
            )
        self._pool.check()
        started = bool(self._progress.board.running or self._ended)
        self._progress.beat("" if started else "no worker has started yet")
        for line in (line for observer in self._observers for line in observer.tick()):
            self._progress.say(line, "yellow")

    def _why(self, id: str, record: TrialRecord | None, result: Mapping[str, Any] | None, error: bool) -> str:
        if result and result.get("kind") == "failed":
            return str(result["reason"])
        if error:
            reason = "transient: its Tune trial was lost"
        else:
            reason = (
                f"permanent: it ended without a record in {self._results.trial(id)}; is the folder shared by all nodes?"
            )
        self._record_failure(id, reason)
        return reason

    def _fail_doomed(self) -> None:
        for id, reason in self._graph.take_doomed():
            self._record_failure(id, f"dependency: {reason}")
            self._close(id, None, f"dependency: {reason}")

    def _record_failure(self, id: str, reason: str) -> None:
        from orchestrator.records import ErrorInfo
        from orchestrator.trials.trial import failed_record

        kind, _, message = reason.partition(": ")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        error = ErrorInfo.model_validate({"failure_class": kind, "type": "SweepError", "message": message})
        write_record(self._results, failed_record(self._trials[id], error, 1, now))

    def _close(self, id: str, record: TrialRecord | None, reason: str | None) -> None:
        self._ended[id] = reason
        self._progress.end(id, record, reason)
        for observer in self._observers:
            observer.end(self._trials[id], record, reason)
