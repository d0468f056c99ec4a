"""Per-image outcomes of the rows of a table, side by side. No ray, no torch.

A table may have hundreds of trials, so a file is read once for all its variants, and only the columns that are needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from orchestrator.predictions import PredictionsError
from orchestrator.records import Results

PLACE = ("variant", "domain", "split")
Place = tuple[str, str, str]
Number = TypeVar("Number", bound=np.generic)


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


@dataclass(slots=True)
class SharedImages:
    """Takes in rows one by one; all must be about the images of the first."""

    results: Results
    num_seeds: int
    first: dict[str, Block] = field(default_factory=dict)
    """domain -> the outcomes that others are compared with"""
    first_name: str = ""
    files: dict[str, dict[Place, Block]] = field(default_factory=dict)
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
            self.files[cell.trial] = dict(_blocks(self.results.trial(cell.trial) / "predictions.parquet"))
        blocks = self.files[cell.trial]
        if cell.place not in blocks:
            variant, domain, split = cell.place
            raise PredictionsError(
                f"{cell.trial} has no per-image outcomes of {variant or 'the model'} on {domain}/{split}"
            )
        return blocks[cell.place]


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
