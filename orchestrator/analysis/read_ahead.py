"""Reads the per-image outcomes of many trials before they are asked for. No ray, no torch.

A table may have thousands of trials, so a file is read once for all its variants, and by threads, as disks and networks are slow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Self

import pyarrow as pa

from orchestrator.analysis.outcome_file import Blocks, Layouts
from orchestrator.analysis.predictions import PredictionsError
from orchestrator.records import Results

AHEAD = 8
"""Files for each thread that are read before they are asked for, so many at a time: to hand over a small one takes as long as
to read it."""
THREADS = 4
"""At most: what they have read is in memory."""
LARGE = 2**19
"""Bytes of a file from which on threads decode it."""
Begun = dict[str, bytes | Blocks | None]
"""Trial -> the bytes of its file, its outcomes of a large one; None of one that cannot be read, for who needs it to say why"""

_LAYOUTS = Layouts()


def read_blocks(results: Results, trial: str, content: bytes | None = None) -> Blocks:
    """A trial's outcomes by place. Raises PredictionsError for a file that is missing or damaged."""
    return _LAYOUTS.read(results.trial(trial) / "predictions.parquet", content)


class ReadAhead:
    """Outcomes of trials, read by threads in the order in which they will be asked for.

    A context manager; at its end what is still to be read is not.
    """

    def __init__(self, results: Results, trials: Iterable[str]) -> None:
        self._results, self._waiting = results, iter(dict.fromkeys(trials))
        self._threads = min(max(1, pa.cpu_count()), THREADS)
        self._pool = ThreadPoolExecutor(self._threads)
        self._begun: dict[str, Future[Begun]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def take(self, trial: str) -> Blocks:
        """Outcomes of the next trial, or a later one; one that was not expected is read now.

        Raises PredictionsError for a file that is missing or damaged.
        """
        self._go_on()
        while trial in self._begun:
            first = next(iter(self._begun))  # those before it turned out not to be needed
            future = self._begun.pop(first)
            self._go_on()
            if first == trial:
                found = future.result().pop(trial)
                return found if isinstance(found, dict) else read_blocks(self._results, trial, found)
        return read_blocks(self._results, trial)

    def _go_on(self) -> None:
        while len(self._begun) < AHEAD * self._threads and (next_ones := list(islice(self._waiting, AHEAD))):
            self._begun |= dict.fromkeys(next_ones, self._pool.submit(_begin, self._results, next_ones))


class OfLastRow:
    """Reads files through another reader and keeps those of one row, which is read for several purposes."""

    def __init__(self, files: ReadAhead) -> None:
        self._files = files
        self._kept: dict[str, Blocks] = {}

    def only(self, trials: Set[str]) -> None:
        """Forget all others."""
        self._kept = {trial: blocks for trial, blocks in self._kept.items() if trial in trials}

    def __call__(self, trial: str) -> Blocks:
        """Outcomes of a trial. Raises PredictionsError for a file that is missing or damaged."""
        if trial not in self._kept:
            self._kept[trial] = self._files.take(trial)
        return self._kept[trial]


def _begin(results: Results, trials: Sequence[str]) -> Begun:
    """Read files. To decode a small one is Python for the most part, where threads but wait for each other."""
    return {trial: _begun(results, trial) for trial in trials}


def _begun(results: Results, trial: str) -> bytes | Blocks | None:
    try:
        content = (results.trial(trial) / "predictions.parquet").read_bytes()
        return content if len(content) < LARGE else read_blocks(results, trial, content)
    except (OSError, PredictionsError):
        return None
