"""TensorBoard, MLflow and W&B as further outputs of a sweep (`track:` in the manifest). No ray, no torch.

They get copies of what is in the records anyway. A process of their own sends them (`orchestrator.tracking.process`): whatever
such a library does, wait for a server, retry when its interpreter ends, take the interpreter lock or crash, the sweep goes
on and ends without it. What goes wrong ends that one output with a line for the user and fails no trial.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.records import Results, TrialRecord
from orchestrator.spec import PlannedTrial
from orchestrator.sweeps.progress import one_line
from orchestrator.tracking.process import Call
from orchestrator.tracking.sinks import TrackerName

MAX_WAITING = 10_000
"""Metrics that wait to be sent; more are dropped, results never are."""
CLOSE_S = 30.0
"""How long the end of a sweep waits for what is still to be sent."""
PRIORITY = 10
"""of the process that sends, below that of trials"""
ROOT = Path(__file__).resolve().parents[2]


class Tracking:
    """An `Observer` that hands what happens to the trackers' process, which starts with the first trial."""

    def __init__(
        self,
        names: Sequence[TrackerName],
        results: Results,
        close_s: float = CLOSE_S,
        command: Sequence[str] = (sys.executable, "-m", "orchestrator.tracking.process"),
    ) -> None:
        self._command = [*command, str(results.root.absolute()), *names]
        self._close_s = close_s
        self._calls: queue.Queue[Call | None] = queue.Queue()
        self._lines: deque[str] = deque()
        self._process: subprocess.Popen[bytes] | None = None
        self._threads: list[threading.Thread] = []
        self._broken = self._closing = self._killed = False
        self._dropped = 0

    def event(self, trial: PlannedTrial, event: Mapping[str, Any]) -> None:
        """Forward the start of a trial, and its metrics."""
        if event["kind"] == "started":
            self._put(("start", (trial,)))
        elif event["kind"] == "metrics" and "step" in event["metrics"]:
            given = {k: v for k, v in event["metrics"].items() if k not in ("step", "num_steps")}
            values = {k: float(v) for k, v in given.items() if isinstance(v, int | float)}
            if self._calls.qsize() > MAX_WAITING:
                self._dropped += 1
            else:
                self._put(("metrics", (trial, int(event["metrics"]["step"]), values)))

    def end(self, trial: PlannedTrial, record: TrialRecord | None, reason: str | None) -> None:
        """Forward what came of a trial."""
        values = final_values(record) if record is not None and reason is None else {}
        step = (record.selected_step if record else None) or 0
        self._put(("end", (trial, step, values, reason)))

    def tick(self) -> Sequence[str]:
        """What went wrong since the last call."""
        lines = []
        while self._lines:
            lines.append(self._lines.popleft())
        return lines

    def close(self) -> Sequence[str]:
        """Send what waits, for 30 s at most, and end the process."""
        if self._process is not None:
            self._closing = True
            self._calls.put(None)
            try:
                self._process.wait(self._close_s)
            except subprocess.TimeoutExpired:
                self._kill(self._process)
                self._lines.append(
                    f"track: not everything could be sent in {self._close_s:g} s; the records have it all"
                )
            for thread in self._threads:
                thread.join(5)
        if self._dropped:
            self._lines.append(f"track: {self._dropped:,} metrics were dropped, since sending them took too long")
        return self.tick()

    def _put(self, call: Call) -> None:
        if self._process is None and not self._broken:
            self._start()
        if not self._broken:
            self._calls.put(call)

    def _start(self) -> None:
        try:
            # A session of its own: Ctrl-C is for the sweep, which then ends this process.
            self._process = process = subprocess.Popen(  # noqa: S603 - our own command
                self._command,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # the sweep's table is there; what matters comes as lines
                start_new_session=True,
            )
        except OSError as error:
            self._broken = True
            self._lines.append(f"track: nothing is sent: {one_line(str(error))}")
            return
        with contextlib.suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, process.pid, PRIORITY)
        # Daemons: a pipe that nobody empties does not keep the driver from ending.
        for work in (self._write, self._read):
            self._threads.append(threading.Thread(target=work, args=(process,), name="track", daemon=True))
            self._threads[-1].start()

    def _write(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None  # noqa: S101 - as it was started
        with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
            while (call := self._calls.get()) is not None:
                pipe.write(pickle.dumps(call))
                pipe.flush()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None  # noqa: S101 - as it was started
        with process.stdout as pipe:
            self._lines.extend(line.decode(errors="replace").rstrip("\n") for line in pipe)
        code = process.wait()
        self._broken = True  # nothing reads any more, so nothing may pile up
        if not self._killed and (code or not self._closing):
            self._lines.append(f"track: nothing more is sent: the process that sends ended with exit code {code}")

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        """With all that it started in its session."""
        self._killed = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def final_values(record: TrialRecord) -> dict[str, float]:
    """Names and values of a completed record: '<variant>/accuracy/<split>/<domain>' (a fraction), the same with nll, seconds."""
    values = {}
    for e in record.evaluations:
        prefix = f"{e.variant}/" if e.variant else ""
        values[f"{prefix}accuracy/{e.split}/{e.domain}"] = e.accuracy
        values[f"{prefix}nll/{e.split}/{e.domain}"] = e.nll
    return values | {f"seconds/{stage}": seconds for stage, seconds in record.seconds.items()}
