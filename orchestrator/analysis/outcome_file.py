"""Reads `predictions.parquet` of thousands of trials: only the columns that a table needs. No ray, no torch.

Trials of one dataset are about the same images, so all that says which image a line is about (variant, domain, split, key,
label) has the same bytes in file after file. It is decoded for the first of them; a file with the same bytes shares it, and
only what its model said is decoded. That halves the time of a report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from orchestrator.analysis.predictions import ColumnsError, PredictionsError, check_columns
from orchestrator.records import TrialRecord

PLACE = ("variant", "domain", "split")
IMAGES = (*PLACE, "key", "label")
SAID = ("correct", "confidence", "nll")
Place = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Block:
    """One variant of one trial on one split of a domain, (N,) each."""

    keys: pa.Array
    labels: NDArray[np.int32]
    correct: NDArray[np.bool_]
    confidences: NDArray[np.float32]
    nlls: NDArray[np.float32]

    def same_images(self, other: Block) -> bool:
        """Whether both are about the same images in the same order."""
        if self.keys is other.keys and self.labels is other.labels:
            return True
        return bool(np.array_equal(self.labels, other.labels)) and bool(self.keys.equals(other.keys))


Blocks = dict[Place, Block]
"""What a trial has by place."""


class Counts(NamedTuple):
    """What a record and its outcomes must agree in, of one place."""

    num_images: int
    num_correct: int


def counts_of(record: TrialRecord) -> dict[Place, Counts]:
    """What a record says, by place."""
    return {(e.variant, e.domain, e.split): Counts(e.num_images, e.num_correct) for e in record.evaluations}


def counted(correct: NDArray[np.bool_]) -> Counts:
    """Of a block's (N,) outcomes."""
    return Counts(len(correct), int(np.count_nonzero(correct)))


def _words(counts: Counts) -> str:
    return f"{counts.num_correct:,} of {counts.num_images:,} right"


def check_of_record(trial: str, place: Place, found: Counts, recorded: Counts | None) -> None:
    """Raises PredictionsError where outcomes are not those that the record was made from; `recorded` None: nothing to check."""
    if recorded is None or found == recorded:
        return
    variant, domain, split = place
    where = f"{variant} on {domain}/{split}" if variant else f"{domain}/{split}"
    raise PredictionsError(
        f"predictions.parquet is not of this record ({trial}, {where}: {_words(found)}, recorded {_words(recorded)})"
    )


@dataclass(frozen=True, slots=True)
class Layout:
    """Which lines of a file are about which images: (place, first line, end, keys, labels), by place."""

    parts: tuple[tuple[Place, int, int, pa.Array, NDArray[np.int32]], ...]


class Layouts:
    """Layouts of files by the bytes that they were decoded from; the last MOST of them. Threads may share it."""

    MOST = 8

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Layout] = {}

    def read(self, path: Path, content: bytes | None = None) -> Blocks:
        """A file's outcomes by place; images of one place lie together. `content`: of the file, if it was read before.

        Raises PredictionsError for a file that is missing or damaged.
        """
        try:
            content = path.read_bytes() if content is None else content
            with pq.ParquetFile(pa.BufferReader(content), read_dictionary=list(PLACE)) as file:
                return self._blocks(file, content)
        except FileNotFoundError:
            raise PredictionsError("a trial of it has no predictions.parquet") from None
        except (pa.ArrowException, OSError, ColumnsError) as error:
            why = " ".join(str(error).split())
            raise PredictionsError(f"predictions.parquet of {path.parent.name} cannot be read: {why}") from None

    def _blocks(self, file: pq.ParquetFile, content: bytes) -> Blocks:
        layout = self._layout(file, content)
        table = _table(file, SAID)
        said = [table.column(name).to_numpy() for name in SAID]
        return {
            place: Block(keys, labels, *(column[start:end] for column in said))
            for place, start, end, keys, labels in layout.parts
        }

    def _layout(self, file: pq.ParquetFile, content: bytes) -> Layout:
        stored = _stored(file, content)
        if stored is None:
            return _decoded(file)
        found = self._known.pop(stored, None) or _decoded(file)
        self._known[stored] = found  # the newest last
        while len(self._known) > self.MOST:
            self._known.pop(next(iter(self._known)), None)
        return found


def _stored(file: pq.ParquetFile, content: bytes) -> tuple[object, ...] | None:
    """Everything that IMAGES are decoded from; None for a file of several row groups or without one, decoded by itself."""
    places = {name: place for place, name in enumerate(file.schema.names)}
    if file.metadata.num_row_groups != 1 or not places.keys() >= set(IMAGES):
        return None
    group, found = file.metadata.row_group(0), list[object]()
    for name in IMAGES:
        chunk = group.column(places[name])
        start = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
        found += [chunk.physical_type, chunk.compression, chunk.num_values]
        found.append(content[start : start + chunk.total_compressed_size])
    return tuple(found)


def _decoded(file: pq.ParquetFile) -> Layout:
    *places, keys, labels = _columns(file, IMAGES)
    if not len(keys):
        return Layout(())
    codes = [place.indices.to_numpy() for place in places]
    names = [place.dictionary.to_pylist() for place in places]
    changes = np.logical_or.reduce([code[1:] != code[:-1] for code in codes])
    starts = [0, *(1 + np.flatnonzero(changes)).tolist()]
    numbers = labels.to_numpy()
    parts = []
    for start, end in zip(starts, [*starts[1:], len(keys)], strict=True):
        variant, domain, split = (of[code[start]] for of, code in zip(names, codes, strict=True))
        parts.append(((variant, domain, split), start, end, keys.slice(start, end - start), numbers[start:end]))
    return Layout(tuple(parts))


def _columns(file: pq.ParquetFile, names: Sequence[str]) -> list[pa.Array]:
    """Columns of a file in one piece each, in the order of `names`; raises as `_table`."""
    table = _table(file, names)
    if any(column.num_chunks > 1 for column in table.columns):
        table = table.unify_dictionaries().combine_chunks()
    return [column.chunk(0) if column.num_chunks else pa.array([], column.type) for column in map(table.column, names)]


def _table(file: pq.ParquetFile, names: Sequence[str]) -> pa.Table:
    """Raises ColumnsError for a column that it should not have so."""
    table = file.read(columns=list(names), use_threads=False)
    check_columns(table, names)
    return table


def file_stamp(path: Path) -> tuple[int, int] | None:
    """Size in bytes and time of the last change in ns: whether a file is the one that was read. None without a file."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_size, stat.st_mtime_ns
