"""Signals that end a sweep in good order."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Self


class Interrupts:
    """SIGTERM, which `ray job stop` and batch systems send, ends a sweep as Ctrl-C does; neither gets lost.

    The exception that a handler raises vanishes if it strikes inside a callback or a destructor of Ray's, whose errors
    Python only prints. So the signal is remembered too, and raised again at the next tick.
    """

    def __init__(self) -> None:
        self._number: int | None = None

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal has come."""
        if self._number is not None:
            raise KeyboardInterrupt(f"signal {self._number}")

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._number = number
        self.check()

    @contextlib.contextmanager
    def listening(self) -> Iterator[Self]:
        """Signals come here inside. Only the main thread may listen; what the parent made us ignore stays ignored."""
        wanted = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
        if threading.current_thread() is not threading.main_thread():
            wanted = []
        before = {number: signal.signal(number, self._handle) for number in wanted}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
