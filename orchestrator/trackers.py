"""TensorBoard, MLflow and W&B as further outputs of a sweep (`track:` in the manifest). No ray, no torch.

They get copies of what is in the records anyway. A thread of their own sends them, so that nothing waits for a network; what
goes wrong ends that one output with a line for the user and fails no trial.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orchestrator.progress import one_line
from orchestrator.records import Results, TrialRecord
from orchestrator.spec import PlannedTrial
from orchestrator.track_sinks import SINKS, Sink, TrackerName

MAX_WAITING = 10_000
"""Metrics that wait to be sent; more are dropped, results never are."""
CLOSE_S = 30.0
"""How long the end of a sweep waits for what is still to be sent."""

Job = Callable[[Sink], None]


class Tracking:
    """An `Observer` that hands what happens to the trackers."""

    def __init__(self, names: Sequence[TrackerName], results: Results, close_s: float = CLOSE_S) -> None:
        self._names, self._results, self._close_s = names, results, close_s
        self._jobs: queue.Queue[Job | None] = queue.Queue()
        self._lines: deque[str] = deque()
        self._thread: threading.Thread | None = None
        self._dropped = 0

    def event(self, trial: PlannedTrial, event: Mapping[str, Any]) -> None:
        """Forward the start of a trial, and its metrics."""
        if event["kind"] == "started":
            self._put(lambda sink: sink.start(trial))
        elif event["kind"] == "metrics" and "step" in event["metrics"]:
            given = {k: v for k, v in event["metrics"].items() if k not in ("step", "num_steps")}
            values = {k: float(v) for k, v in given.items() if isinstance(v, int | float)}
            step = int(event["metrics"]["step"])
            if self._jobs.qsize() > MAX_WAITING:
                self._dropped += 1
            else:
                self._put(lambda sink: sink.metrics(trial, step, values))

    def end(self, trial: PlannedTrial, record: TrialRecord | None, reason: str | None) -> None:
        """Forward what came of a trial."""
        values = final_values(record) if record is not None and reason is None else {}
        step = (record.selected_step if record else None) or 0
        self._put(lambda sink: sink.end(trial, step, values, reason))

    def tick(self) -> Sequence[str]:
        """What went wrong since the last call."""
        lines = []
        while self._lines:
            lines.append(self._lines.popleft())
        return lines

    def close(self) -> Sequence[str]:
        """Send what waits, for 30 s at most."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join(self._close_s)
            if self._thread.is_alive():
                self._lines.append(
                    f"track: not everything could be sent in {self._close_s:.0f} s; the records have it all"
                )
        if self._dropped:
            self._lines.append(f"track: {self._dropped:,} metrics were dropped, since sending them took too long")
        return self.tick()

    def _put(self, job: Job) -> None:
        if self._thread is None:
            # A daemon: a tracker that hangs does not keep the driver from ending.
            self._thread = threading.Thread(target=self._send, name="track", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def _send(self) -> None:
        sinks: dict[TrackerName, Sink] = {}
        for name in self._names:
            self._try(name, sinks, lambda name=name: sinks.update({name: SINKS[name](self._results)}))  # type: ignore[misc]
        while (job := self._jobs.get()) is not None:
            for name, sink in list(sinks.items()):
                self._try(name, sinks, lambda job=job, sink=sink: job(sink))  # type: ignore[misc]
        for name, sink in list(sinks.items()):
            self._try(name, sinks, sink.close)

    def _try(self, name: TrackerName, sinks: dict[TrackerName, Sink], action: Callable[[], object]) -> None:
        try:
            action()
        except ImportError as error:
            why = f"{one_line(str(error))}; install it with: pip install '.[{name}]'"
        except (Exception, SystemExit) as error:  # whatever a library does when it has no network, key or disk
            why = f"{type(error).__name__}: {one_line(str(error))}"
        else:
            return
        sinks.pop(name, None)
        self._lines.append(f"track: nothing more goes to {name}: {why}")


def final_values(record: TrialRecord) -> dict[str, float]:
    """Names and values of a completed record: '<variant>/accuracy/<split>/<domain>' (a fraction), the same with nll, seconds."""
    values = {}
    for e in record.evaluations:
        prefix = f"{e.variant}/" if e.variant else ""
        values[f"{prefix}accuracy/{e.split}/{e.domain}"] = e.accuracy
        values[f"{prefix}nll/{e.split}/{e.domain}"] = e.nll
    return values | {f"seconds/{stage}": seconds for stage, seconds in record.seconds.items()}
