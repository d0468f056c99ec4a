"""Finds and ends the processes that a test started, by a mark in their environment, and no others."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

MARK = "ROBUST_FT_TEST_MARK"


def marked(mark: str, besides: tuple[str, ...] = ()) -> list[int]:
    """Pids of living processes whose environment holds the mark and whose command holds none of `besides`."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal() or int(folder.name) == os.getpid():
            continue
        # A process may end while it is looked at; a zombie has no environment.
        with contextlib.suppress(OSError):
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
            if wanted in (folder / "environ").read_bytes().split(b"\0") and not any(b in command for b in besides):
                found.append(int(folder.name))
    return found


@contextlib.contextmanager
def none_left(mark: str) -> Iterator[None]:
    """Kill what still bears the mark at the end."""
    try:
        yield
    finally:
        for pid in marked(mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def wait_for(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Poll until the condition holds. Raises TimeoutError saying what did not happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {seconds:.0f} s")
        time.sleep(0.1)


def hear_ctrl_c() -> None:
    """For `preexec_fn`: a runner that put the suite into the background has made it, and its children, ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
