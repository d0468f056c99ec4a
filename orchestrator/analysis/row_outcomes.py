"""Per-image outcomes of the rows of a table, side by side. No ray, no torch.

A table may have thousands of trials, so a file is read once for all its variants, only the columns that are needed, and by
threads before it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from orchestrator.analysis.predictions import PredictionsError
from orchestrator.records import Results

PLACE = ("variant", "domain", "split")
Place = tuple[str, str, str]
Number = TypeVar("Number", bound=np.generic)
AHEAD = 2
"""Files for each thread that are read before they are asked for."""


class Cell(NamedTuple):
    """Where the outcomes of a row with a seed on a domain lie."""

    trial: str
    place: Place


@dataclass(frozen=True, slots=True)
class Block:
    """One variant of one trial on one split of a domain, (N,) each."""

    keys: pa.Array
    labels: NDArray[np.int32]
    correct: NDArray[np.bool_]
    confidences: NDArray[np.float32]

    def same_images(self, other: Block) -> bool:
        """Whether both are about the same images in the same order."""
        return bool(np.array_equal(self.labels, other.labels)) and bool(self.keys.equals(other.keys))


@dataclass(frozen=True, slots=True)
class RowOutcomes:
    """A row's outcomes: on each domain (S, N) whether it is right and how confident it was."""

    correct: Mapping[str, NDArray[np.bool_]]
    confidences: Mapping[str, NDArray[np.float32]]


Blocks = dict[Place, Block]
"""What a trial has by place."""


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


def read_blocks(results: Results, trial: str) -> Blocks:
    """A trial's outcomes by place. Raises PredictionsError for a file that is missing or damaged."""
    return dict(_blocks(results.trial(trial) / "predictions.parquet"))


def _blocks(path: Path) -> Iterator[tuple[Place, Block]]:
    """A file's outcomes by place; images of one place lie together."""
    columns = [*PLACE, "key", "label", "correct", "confidence"]
    try:
        with pq.ParquetFile(path, read_dictionary=list(PLACE)) as file:
            table = file.read(columns=columns, use_threads=False).unify_dictionaries().combine_chunks()
    except FileNotFoundError:
        raise PredictionsError("a trial of it has no predictions.parquet") from None
    except (pa.ArrowException, OSError, KeyError) as error:
        raise PredictionsError(
            f"predictions.parquet of {path.parent.name} cannot be read: {type(error).__name__}"
        ) from None
    if not table.num_rows:
        return
    chunks = {name: table.column(name).combine_chunks() for name in columns}
    chunks = {n: c.chunk(0) if isinstance(c, pa.ChunkedArray) else c for n, c in chunks.items()}
    codes = [chunks[name].indices.to_numpy() for name in PLACE]
    names = [chunks[name].dictionary.to_pylist() for name in PLACE]
    starts = [0, *(1 + np.flatnonzero(sum((np.diff(c) != 0 for c in codes), start=np.zeros(len(codes[0]) - 1, bool))))]
    numbers = {name: chunks[name].to_numpy(zero_copy_only=False) for name in ("label", "correct", "confidence")}
    for start, end in zip(starts, [*starts[1:], table.num_rows], strict=True):
        variant, domain, split = (of[code[start]] for of, code in zip(names, codes, strict=True))
        here = slice(int(start), int(end))
        yield (
            (variant, domain, split),
            Block(
                keys=chunks["key"].slice(here.start, here.stop - here.start),
                labels=numbers["label"][here],
                correct=numbers["correct"][here],
                confidences=numbers["confidence"][here],
            ),
        )
