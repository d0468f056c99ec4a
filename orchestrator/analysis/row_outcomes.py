"""Per-image outcomes of the rows of a table, side by side. No ray, no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from orchestrator.analysis.grid import Outcome
from orchestrator.analysis.image_sets import First, Inside, Union, image_set, over_union, union
from orchestrator.analysis.outcome_file import (
    Block,
    Blocks,
    Counts,
    Place,
    check_of_record,
    counted,
    counts_of,
)
from orchestrator.analysis.predictions import PredictionsError
from orchestrator.analysis.products import Outcomes
from orchestrator.analysis.read_ahead import read_blocks
from orchestrator.records import Results

Number = TypeVar("Number", bound=np.generic)


class Cell(NamedTuple):
    """Where the outcomes of a row with a seed on a domain lie."""

    trial: str
    place: Place
    images: int = 0
    """which images of the domain these are (`image_sets.image_set`)"""
    recorded: Counts | None = None
    """what the record says of them"""


@dataclass(slots=True)
class Cells:
    """Makes cells; what a record says is looked up once for all its variants."""

    _counts: dict[str, dict[Place, Counts]] = field(default_factory=dict)

    def own(self, o: Outcome, variant: str, domain: str, split: str) -> Cell:
        """Where a trial's outcomes on images of a domain of its own benchmark lie."""
        return self._cell(o, variant, domain, split, image_set(o.trial.spec.data, split))

    def transfer(self, o: Outcome, variant: str, place: str) -> Cell:
        """Where those on a dataset of transfer lie."""
        return self._cell(o, variant, place, "test", 0)

    def _cell(self, o: Outcome, variant: str, domain: str, split: str, images: int) -> Cell:
        trial, place = o.trial.id, (o.shown(variant), domain, split)
        if trial not in self._counts:
            self._counts[trial] = counts_of(o.record) if o.record else {}
        return Cell(trial, place, images, self._counts[trial].get(place))


def done_by_seed(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Those that have results, in the order of their seeds."""
    return sorted((o for o in outcomes if o.status == "done"), key=lambda o: o.trial.spec.seed)


@dataclass(frozen=True, slots=True)
class Right:
    """On which images a row is right."""

    correct: Mapping[str, NDArray[np.bool_]]
    """domain -> (S, N)"""
    inside: Mapping[str, Inside]
    """domain where seeds have images of their own -> whether a seed has the image; where it has not, it is not right"""

    def shared(self, other: Right, domain: str) -> Inside | None:
        """Whether both have an image with a seed; None where they have all."""
        return self.inside[domain] & other.inside[domain] if domain in self.inside else None


def stacked(rows: Sequence[Right], domain: str) -> Outcomes:
    """(R, S, N) contributions of rows of one table."""
    if domain in rows[0].inside:
        found = np.empty((len(rows), *rows[0].correct[domain].shape), np.float32)
        for place, row in enumerate(rows):
            found[place] = over_union(row.correct[domain], row.inside[domain])
        return found
    return np.stack([row.correct[domain] for row in rows])


@dataclass(frozen=True, slots=True)
class RowOutcomes:
    """A row's outcomes; on images that a seed does not have all are 0."""

    right: Right
    confidences: Mapping[str, NDArray[np.float32]]
    """domain -> (S, N)"""
    nlls: Mapping[str, NDArray[np.float32]]
    """domain -> (S, N), nats"""

    @property
    def correct(self) -> Mapping[str, NDArray[np.bool_]]:
        """Domain -> (S, N) whether it is right."""
        return self.right.correct

    @property
    def inside(self) -> Mapping[str, Inside]:
        """Whether a seed has an image, where seeds have images of their own."""
        return self.right.inside


@dataclass(slots=True)
class SharedImages:
    """Takes in rows one by one; all must be about the images of the first, or of the first of the same set."""

    results: Results
    num_seeds: int
    read: Callable[[str], Blocks] | None = None
    """outcomes of a trial, `ReadAhead.take`; without it files are read when they are needed"""
    unions: Mapping[str, Union] = field(default_factory=dict)
    """of domains where seeds have images of their own (`unions`)"""
    first: dict[str, Block] = field(default_factory=dict)
    """other domains -> the outcomes that others are compared with"""
    first_name: str = ""
    files: dict[str, Blocks] = field(default_factory=dict)
    """trial -> its outcomes; of the last row alone, whose variants follow one another"""

    def row(self, name: str, cells: Mapping[str, list[Cell]]) -> RowOutcomes:
        """The outcomes of a row: domain -> a cell for each seed, or one that holds for all of them.

        Raises PredictionsError for a file that is missing, damaged, about other images or not of the record beside it.
        """
        used = {cell.trial for of_domain in cells.values() for cell in of_domain}
        self.files = {trial: blocks for trial, blocks in self.files.items() if trial in used}
        blocks = {domain: [self._block(cell) for cell in of_domain] for domain, of_domain in cells.items()}
        first = self.first or {domain: of[0] for domain, of in blocks.items() if domain not in self.unions}
        for domain, of_domain in blocks.items():
            for cell, block in zip(cells[domain], of_domain, strict=True):
                known = self.unions[domain].firsts[cell.images] if domain in self.unions else None
                if not block.same_images(known.block if known else first[domain]):
                    whose = known.name if known else self.first_name
                    whose = f"{whose!r}" if whose else "its first seed"
                    raise PredictionsError(f"its images of {domain} are others than those of {whose}")
        if not self.first:
            self.first, self.first_name = first, name
        sets = {domain: [cell.images for cell in of_domain] for domain, of_domain in cells.items()}
        inside = {
            domain: self._all_seeds(self.unions[domain].inside(own))
            for domain, own in sets.items()
            if domain in self.unions
        }
        return RowOutcomes(
            Right({d: self._stack([b.correct for b in of], d, sets[d]) for d, of in blocks.items()}, inside),
            {d: self._stack([b.confidences for b in of], d, sets[d]) for d, of in blocks.items()},
            {d: self._stack([b.nlls for b in of], d, sets[d]) for d, of in blocks.items()},
        )

    def labels(self) -> dict[str, NDArray[np.int32]]:
        """Domain -> (N,) of all domains of the rows that were taken in."""
        own = {domain: block.labels for domain, block in self.first.items()}
        return own | {domain: of.labels for domain, of in self.unions.items()}

    def _stack(self, of_seeds: list[NDArray[Number]], domain: str, sets: Sequence[int]) -> NDArray[Number]:
        if domain in self.unions:
            return self._all_seeds(self.unions[domain].padded(of_seeds, sets))
        return self._all_seeds(of_seeds[0][None] if len(of_seeds) == 1 else np.stack(of_seeds))

    def _all_seeds(self, numbers: NDArray[Number]) -> NDArray[Number]:
        """What holds for all seeds, once for each."""
        return np.broadcast_to(numbers, (self.num_seeds, numbers.shape[1])) if len(numbers) == 1 else numbers

    def _block(self, cell: Cell) -> Block:
        if cell.trial not in self.files:
            self.files[cell.trial] = self.read(cell.trial) if self.read else read_blocks(self.results, cell.trial)
        blocks = self.files[cell.trial]
        if cell.place not in blocks:
            variant, domain, split = cell.place
            raise PredictionsError(
                f"{cell.trial} has no per-image outcomes of {variant or 'the model'} on {domain}/{split}"
            )
        check_of_record(cell.trial, cell.place, counted(blocks[cell.place].correct), cell.recorded)
        return blocks[cell.place]


def unions(results: Results, rows: Iterable[tuple[str, Mapping[str, Sequence[Cell]]]]) -> dict[str, Union]:
    """Domain -> its images, where sets differ: (name of a row, its cells by domain). Reads a file or two for each set.

    A file that cannot be read, or is not of its record, says nothing of its set, the next row's does.
    """
    rows = list(rows)
    sets: dict[str, set[int]] = {}
    for _, cells in rows:
        for domain, of_domain in cells.items():
            sets.setdefault(domain, set()).update(cell.images for cell in of_domain)
    wanted = {(domain, own) for domain, of_domain in sets.items() if len(of_domain) > 1 for own in of_domain}
    firsts: dict[str, dict[int, First]] = {domain: {} for domain, _ in sorted(wanted)}
    files: dict[str, Blocks] = {}
    for name, cells in rows:
        for domain, cell in ((domain, cell) for domain, of_domain in cells.items() for cell in of_domain):
            if (domain, cell.images) not in wanted:
                continue
            if cell.trial not in files:
                files[cell.trial] = _readable(results, cell.trial)
            block = files[cell.trial].get(cell.place)
            if block is not None and cell.recorded in (None, counted(block.correct)):
                firsts[domain][cell.images] = First(name, block)
                wanted.remove((domain, cell.images))
        if not wanted:
            break
    found = {domain: union(of_domain) for domain, of_domain in firsts.items() if of_domain}
    return {domain: of for domain, of in found.items() if of is not None}


def _readable(results: Results, trial: str) -> Blocks:
    """Nothing where a file cannot be read: the row that has it says so in its turn."""
    with suppress(PredictionsError):
        return read_blocks(results, trial)
    return {}
