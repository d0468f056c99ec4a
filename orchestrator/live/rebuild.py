"""Keeps the page of a folder of results up to date while records come in. No ray, no torch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from orchestrator.records import TrialRecord
from orchestrator.spec import PlannedTrial
from orchestrator.sweeps.progress import one_line

POLL_S = 3.0
REBUILD_S = 30.0
"""Least seconds between two pages that a running sweep makes."""
SHARE = 10
"""A sweep's pages take at most one part in so many of one core's time, whatever their size."""
ROOT = Path(__file__).resolve().parents[2]

Signature = frozenset[tuple[str, int, int]]


def signature(root: Path) -> Signature:
    """What a page is made from: every record and plan, with the time and the size of its file."""
    found = set()
    for pattern in ("trials/*/record.json", "plans/*.json"):
        for path in root.glob(pattern):
            try:
                state = path.stat()
            except FileNotFoundError:  # replaced or removed while we look
                continue
            found.add((str(path.relative_to(root)), state.st_mtime_ns, state.st_size))
    return frozenset(found)


def watch(
    root: Path,
    build: Callable[[], object],
    say: Callable[[str], None],
    poll_s: float = POLL_S,
    sleep: Callable[[float], None] = time.sleep,
    page: str = "leaderboard.html",
) -> None:
    """Call `build` now and whenever records or plans have changed, until KeyboardInterrupt, which passes through.

    What cannot be built (nothing is recorded yet, a plan is damaged, the disk is full) is said, and tried again after the
    next change. `page`: the file that `build` makes, as it is named to the user.
    Raises FileNotFoundError if there is no such folder.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder of results")
    before: Signature | None = None
    while True:
        now = signature(root)  # taken first: what comes while the page is made makes it again
        took = 0.0
        if now != before:
            began = time.monotonic()
            try:
                build()
                took = time.monotonic() - began
                records = sum(name.startswith("trials/") for name, _, _ in now)
                result = f"made from {records:,} record{'' if records == 1 else 's'} in {took:.1f} s"
            except (ValueError, OSError) as error:
                result = f"not made: {one_line(str(error))}"
            say(f"{datetime.now():%H:%M:%S} {root / page}: {result}")
            before = now
        sleep(max(poll_s, took))


class Rebuilder:
    """An `Observer` that has the page made again by a process of its own while trials end.

    The process is the command `report` at the lowest priority and with one thread. One runs at a time, the next one starts
    30 s after it ended at the earliest, and later where it took long.
    """

    def __init__(
        self,
        root: Path,
        every_s: float = REBUILD_S,
        clock: Callable[[], float] = time.monotonic,
        command: Sequence[str] = (sys.executable, "-m", "orchestrator", "report"),
    ) -> None:
        self._root, self._every, self._clock, self._command = root, every_s, clock, command
        self._next = clock() + every_s
        self._changed = False
        self._warned = False
        self._started = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None

    def event(self, trial: PlannedTrial, event: Mapping[str, Any]) -> None:
        """Nothing: a page shows what is over."""

    def end(self, trial: PlannedTrial, record: TrialRecord | None, reason: str | None) -> None:
        """There is something new to show."""
        self._changed = True

    def tick(self) -> Sequence[str]:
        """Start the process if it is time, or take note that it has ended."""
        now = self._clock()
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return []
            self._next = now + max(self._every, SHARE * (now - self._started))
            return self._over(code)
        if self._changed and now >= self._next:
            self._changed = False
            return self._start(now)
        return []

    def close(self) -> Sequence[str]:
        """End the process, whose page would be out of date."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # as Ctrl-C: it removes the file that it is writing
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._over(0)
        return []

    def _start(self, now: float) -> Sequence[str]:
        self._started = now
        quiet = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
        try:
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process is over
            # A session of its own: Ctrl-C is for the sweep, which then ends this process.
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [*self._command, str(self._root.absolute())],
                cwd=ROOT,
                env=os.environ | quiet,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                start_new_session=True,
            )
            os.setpriority(os.PRIO_PROCESS, self._process.pid, 19)
        except ProcessLookupError:
            pass  # over already; the next tick sees how
        except OSError as error:
            self._next = now + self._every
            return self._warn(str(error))
        return []

    def _over(self, code: int) -> Sequence[str]:
        self._process = None
        errors, self._errors = self._errors, None
        if errors is None:
            return []
        with errors:
            errors.seek(0)
            text = errors.read().decode(errors="replace").strip()
        return self._warn(text.splitlines()[-1] if text else f"exit code {code}") if code else []

    def _warn(self, why: str) -> Sequence[str]:
        if self._warned:
            return []
        self._warned = True
        return [f"the leaderboard is not made while this runs: {one_line(why)}"]
