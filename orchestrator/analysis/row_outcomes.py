"""Per-image outcomes of the rows of a table, side by side. No ray, no torch.

A table may have thousands of trials, so a file is read once for all its variants, and by threads before it is asked for
(`outcome_file`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, Self, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from orchestrator.analysis.outcome_file import Block, Blocks, Layouts, Place
from orchestrator.analysis.predictions import PredictionsError
from orchestrator.records import Results

Number = TypeVar("Number", bound=np.generic)
AHEAD = 2
"""Files for each thread that are read before they are asked for."""


class Cell(NamedTuple):
    """Where the outcomes of a row with a seed on a domain lie."""

    trial: str
    place: Place


@dataclass(frozen=True, slots=True)
class RowOutcomes:
    """A row's outcomes: on each domain (S, N) whether it is right and how confident it was."""

    correct: Mapping[str, NDArray[np.bool_]]
    confidences: Mapping[str, NDArray[np.float32]]


class ReadAhead:
    """Outcomes of trials, read by threads in the order in which they will be asked for; as many threads as pyarrow has.

    A context manager; at its end what is still to be read is not.
    """

    def __init__(self, results: Results, trials: Iterable[str]) -> None:
        self._results, self._waiting = results, iter(dict.fromkeys(trials))
        self._threads = max(1, pa.cpu_count())
        self._pool = ThreadPoolExecutor(self._threads)
        self._begun: dict[str, Future[Blocks]] = {}

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
                return future.result()
        return read_blocks(self._results, trial)

    def _go_on(self) -> None:
        for trial in islice(self._waiting, AHEAD * self._threads - len(self._begun)):
            self._begun[trial] = self._pool.submit(read_blocks, self._results, trial)


@dataclass(slots=True)
class SharedImages:
    """Takes in rows one by one; all must be about the images of the first."""

    results: Results
    num_seeds: int
    read: Callable[[str], Blocks] | None = None
    """outcomes of a trial, `ReadAhead.take`; without it files are read when they are needed"""
    first: dict[str, Block] = field(default_factory=dict)
    """domain -> the outcomes that others are compared with"""
    first_name: str = ""
    files: dict[str, Blocks] = field(default_factory=dict)
    """trial -> its outcomes; of the last row alone, whose variants follow one another"""

    def row(self, name: str, cells: Mapping[str, list[Cell]]) -> RowOutcomes:
        """The outcomes of a row: domain -> a cell for each seed, or one that holds for all of them.

        Raises PredictionsError for a file that is missing, damaged or about other images.
        """
        used = {cell.trial for of_domain in cells.values() for cell in of_domain}
        self.files = {trial: blocks for trial, blocks in self.files.items() if trial in used}
        blocks = {domain: [self._block(cell) for cell in of_domain] for domain, of_domain in cells.items()}
        first = self.first or {domain: of_domain[0] for domain, of_domain in blocks.items()}
        for domain, of_domain in blocks.items():
            for block in of_domain:
                if not block.same_images(first[domain]):
                    whose = f"{self.first_name!r}" if self.first_name else "its first seed"
                    raise PredictionsError(f"its images of {domain} are others than those of {whose}")
        if not self.first:
            self.first, self.first_name = first, name
        return RowOutcomes(
            {domain: self._stack([b.correct for b in of_domain]) for domain, of_domain in blocks.items()},
            {domain: self._stack([b.confidences for b in of_domain]) for domain, of_domain in blocks.items()},
        )

    def _stack(self, of_seeds: list[NDArray[Number]]) -> NDArray[Number]:
        if len(of_seeds) == 1:
            return np.broadcast_to(of_seeds[0], (self.num_seeds, len(of_seeds[0])))
        return np.stack(of_seeds)

    def _block(self, cell: Cell) -> Block:
        if cell.trial not in self.files:
            self.files[cell.trial] = self.read(cell.trial) if self.read else read_blocks(self.results, cell.trial)
        blocks = self.files[cell.trial]
        if cell.place not in blocks:
            variant, domain, split = cell.place
            raise PredictionsError(
                f"{cell.trial} has no per-image outcomes of {variant or 'the model'} on {domain}/{split}"
            )
        return blocks[cell.place]


_LAYOUTS = Layouts()


def read_blocks(results: Results, trial: str) -> Blocks:
    """A trial's outcomes by place. Raises PredictionsError for a file that is missing or damaged."""
    return _LAYOUTS.read(results.trial(trial) / "predictions.parquet")
