"""Intervals of our accuracies over seeds and images, for all rows of a panel from the same draws. No ray, no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from orchestrator.analysis.image_sets import First, Union, over_union, union
from orchestrator.analysis.outcome_file import Block, Blocks, Counts, check_of_record, counted
from orchestrator.analysis.predictions import PredictionsError
from orchestrator.analysis.products import Outcomes, one_thread, together
from orchestrator.analysis.read_ahead import read_blocks
from orchestrator.analysis.statistics import PairedBootstrap
from orchestrator.records import Results


class Predictor(NamedTuple):
    """A finished trial of a row."""

    trial: str
    variant: str
    images: int = 0
    """which images it was measured on, where seeds have images of their own (`image_sets.image_set`)"""
    held_out: tuple[str, ...] = ()
    """domains that it did not train on, where each is held out in turn; empty: all count"""

    recorded: tuple[tuple[str, Counts], ...] = ()
    """domain -> what its record says; nothing is checked of others"""

    def on(self, domain: str) -> bool:
        """Whether what it says of a domain is shown."""
        return not self.held_out or domain in self.held_out


Asked = tuple[tuple[Predictor, ...], tuple[str, ...]]
"""the finished trials of a row, the domains that its accuracy is the mean over"""
UNUSED = np.empty(0, np.float32)


def held_out(predictors: Sequence[Predictor]) -> tuple[str, ...]:
    """The domains held out in turn."""
    return tuple(dict.fromkeys(domain for predictor in predictors for domain in predictor.held_out))


def union_of(predictors: Sequence[Predictor], blocks: Sequence[Block]) -> Union | None:
    """The images of a row's seeds on a domain, where they are not all the same.

    Raises PredictionsError for trials that differ in images where they should not.
    """
    firsts: dict[int, First] = {}
    for predictor, block in zip(predictors, blocks, strict=True):
        firsts.setdefault(predictor.images, First(predictor.trial, block))
    found = union(firsts)
    for predictor, block in zip(predictors, blocks, strict=True):
        known = firsts[predictor.images] if found else First(predictors[0].trial, blocks[0])
        if not known.block.same_images(block):
            raise PredictionsError(f"{predictor.trial} and {known.name} are about different images")
    return found


@dataclass(frozen=True, slots=True)
class _Source:
    """What the columns of a row that are about the same trials are computed from."""

    row: int
    predictors: tuple[Predictor, ...]
    correct: Mapping[str, Outcomes]
    """domain -> (S, N): whether each of N images is right under each of S predictors, or what that contributes"""


@dataclass
class Bootstrap:
    """Collects what a panel asks for, row by row and column by column, then draws once for all rows alike."""

    results: Results
    asked: list[list[Asked]] = field(default_factory=lambda: [[]])
    _files: dict[str, Blocks] = field(default_factory=dict)

    def add(self, predictors: Sequence[Predictor], domains: tuple[str, ...]) -> None:
        """The next column of the row; without predictors it has no interval."""
        self.asked[-1].append((tuple(predictors), domains))

    def not_of_record(self, predictors: Sequence[Predictor], domains: Sequence[str]) -> str:
        """Why outcomes on these domains are not those that the records were made from; '' if they are, or there are none."""
        for predictor in predictors:
            recorded = dict(predictor.recorded)
            for domain in filter(predictor.on, domains):
                place = predictor.variant, domain, "test"
                block = self._read(predictor.trial).get(place)
                try:
                    if block is not None:
                        check_of_record(predictor.trial, place, counted(block.correct), recorded.get(domain))
                except PredictionsError as error:
                    return str(error)
        return ""

    def end_row(self) -> None:
        """The next `add` is of the next row."""
        self.asked.append([])

    def intervals(self) -> dict[tuple[int, int], tuple[float, float]]:
        """(row, column) -> the 95 % interval in percent; left out where outcomes are missing or do not fit together."""
        groups: dict[tuple[object, ...], list[_Source]] = {}
        for row, columns in enumerate(self.asked):
            # The columns of a row may be about several datasets, whose domains may have the same names.
            for predictors in dict.fromkeys(predictors for predictors, _ in columns if predictors):
                domains = dict.fromkeys(d for own, of_column in columns if own == predictors for d in of_column)
                found = {domain: self._stack(predictors, domain) for domain in domains}
                correct = {domain: stacked for domain, stacked in found.items() if stacked is not None}
                if len({len(stacked) for stacked in correct.values()}) == 1:
                    kind = tuple((domain, stacked.dtype.char, *stacked.shape) for domain, stacked in correct.items())
                    groups.setdefault(kind, []).append(_Source(row, predictors, correct))
        intervals: dict[tuple[int, int], tuple[float, float]] = {}
        with one_thread():
            for sources in groups.values():
                intervals |= self._of_group(sources)
        return intervals

    def _of_group(self, sources: Sequence[_Source]) -> dict[tuple[int, int], tuple[float, float]]:
        domains = list(sources[0].correct)
        bootstrap = PairedBootstrap({domain: together([s.correct[domain] for s in sources]) for domain in domains})
        intervals = {}
        for place, source in enumerate(sources):
            for column, (predictors, of_column) in enumerate(self.asked[source.row]):
                if predictors == source.predictors and set(of_column) <= set(domains):
                    estimate = bootstrap.accuracy(place, of_column)
                    intervals[source.row, column] = 100 * estimate.low, 100 * estimate.high
        return intervals

    def _stack(self, predictors: Sequence[Predictor], domain: str) -> Outcomes | None:
        """(S, N); None if a file is missing or the trials are about different images."""
        own = [predictor for predictor in predictors if predictor.on(domain)]
        found = [self._read(p.trial).get((p.variant, domain, "test")) for p in own]
        blocks = [block for block in found if block is not None]
        if not blocks or len(blocks) < len(found):
            return None
        try:
            images = union_of(own, blocks)
        except PredictionsError:
            return None
        correct = [block.correct.astype(np.bool_) for block in blocks]
        if images is None:
            return np.stack(correct)
        sets = [predictor.images for predictor in own]
        return over_union(images.padded(correct, sets), images.inside(sets))

    def _read(self, trial: str) -> Blocks:
        """What a trial is right about, a file once; empty if it is not there."""
        if trial not in self._files:
            self._files[trial] = {}
            with suppress(PredictionsError):  # of all trials of a panel, what is not needed would take gigabytes
                self._files[trial] = {
                    place: replace(block, confidences=UNUSED, nlls=UNUSED)
                    for place, block in read_blocks(self.results, trial).items()
                }
        return self._files[trial]
