"""Intervals, ranks, calibration and classes of a board's tables, from the per-image outcomes of its trials. No ray, no torch.

Every table with more than one row: all its rows have to be about the same images and the same seeds, for only then are
differences paired. A row that is not has no interval, and says why. What was computed is kept in results/cache/statistics,
by a hash of what went into it, so that a page can be made again while a sweep runs and only what is new is computed.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from orchestrator.analysis.aggregate import Board, Table
from orchestrator.analysis.calibration import class_changes, curve
from orchestrator.analysis.intervals import (
    Calibration,
    ClassChanges,
    ComparisonIntervals,
    Interval,
    RowStatistics,
    TableStatistics,
)
from orchestrator.analysis.outcome_file import file_stamp
from orchestrator.analysis.predictions import PredictionsError
from orchestrator.analysis.row_outcomes import Cell, ReadAhead, RowOutcomes, SharedImages
from orchestrator.analysis.rows import Row
from orchestrator.analysis.statistics import Correct, Estimate, PairedBootstrap, rank
from orchestrator.analysis.transfer_intervals import transfer_intervals
from orchestrator.records import Results, write_atomic

VERSION = 2
"""Part of every hash: raise it when the numbers made from the same files change."""

KEPT_BYTES, KEPT_DAYS = 64 * 2**20, 30
"""Of the statistics that the last report did not use: how much is kept, by the time of last use, and for how long."""

Cells = Mapping[str, list[Cell]]
"""domain -> a cell for each seed, or one that holds for all"""


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What a table's statistics are made from: for each row its cells, or why it has none."""

    cells: dict[int, Cells]
    reasons: dict[int, str]
    seeds: tuple[int, ...]


def with_statistics(results: Results, board: Board) -> Board:
    """The board with intervals in each table of several rows; files are read and the cache is kept below `results`."""
    folder = results.root / "cache" / "statistics"
    used: set[Path] = set()
    tables = []
    for table in board.tables:
        if len(table.rows) < 2:
            tables.append(table)
            continue
        inputs = _inputs(table)
        path = folder / f"{_digest(results, table, inputs)}.json"
        used.add(path)
        found = _cached(path)
        if found is None:
            found = _statistics(results, table, inputs)
            write_atomic(path, found.model_dump_json() + "\n")
        tables.append(replace(table, statistics=found))
    _tidy(folder, used)
    return replace(board, tables=tuple(tables))


def _tidy(folder: Path, used: Collection[Path]) -> None:
    """Remove what was not used for long, or is too much; reports by other rules and bins take turns with this one."""
    unused = []
    for path in folder.glob("*.json"):
        with suppress(FileNotFoundError):  # another report removed it
            if path in used:
                os.utime(path)
            else:
                unused.append((path.stat().st_mtime, path.stat().st_size, path))
    total, oldest = 0, time.time() - KEPT_DAYS * 86400
    for used_at, size, path in sorted(unused, reverse=True):
        total += size
        if total > KEPT_BYTES or used_at < oldest:
            path.unlink(missing_ok=True)


def _cached(path: Path) -> TableStatistics | None:
    try:
        return TableStatistics.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _digest(results: Results, table: Table, inputs: _Inputs) -> str:
    """Of everything that the statistics depend on; files by size and time, as reading them is what is to be saved."""
    trials = {cell.trial for cells in inputs.cells.values() for of_domain in cells.values() for cell in of_domain}
    content = {
        "version": VERSION,
        "ece_bins": table.ece_bins,
        "cells": inputs.cells,
        "names": [row.name for row in table.rows],
        "reasons": inputs.reasons,
        "references": [[row is other for row in table.rows] for other in (table.zero_shot, table.baseline)],
        "sources": table.sources,
        "shifted": table.shifted,
        "transfer": table.transfer,
        "files": {trial: file_stamp(results.trial(trial) / "predictions.parquet") for trial in trials},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def _inputs(table: Table) -> _Inputs:
    """Which outcomes each row is made of. Most rows decide which seeds are common; others are left out, with the reason."""
    reasons = {index: why for index, row in enumerate(table.rows) if (why := _incomplete(table, row))}
    whole = {index: row for index, row in enumerate(table.rows) if index not in reasons}
    seeds = {index: tuple(sorted(row.shift.values)) for index, row in whole.items() if not row.shift.constant}
    counts = Counter(seeds.values())
    common = max(counts, key=lambda found: (counts[found], len(found))) if counts else ()
    for index, own in seeds.items():
        if own != common:
            reasons[index] = f"its seeds are {_listed(own)}, those of most rows {_listed(common)}"
    cells = {index: _cells(table, row) for index, row in whole.items() if index not in reasons}
    return _Inputs(cells, reasons, common)


def _incomplete(table: Table, row: Row) -> str:
    if not table.shifted:
        return "no shifted domain"
    return row.shift.why or (row.reference.why if table.sources else "")


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def _cells(table: Table, row: Row) -> Cells:
    """Where a row's outcomes lie; on a domain that is held out, those of the trials that did not train on it."""
    done = [o.trial for o in row.outcomes if o.status == "done"]
    done.sort(key=lambda trial: trial.spec.seed)
    cells = {}
    for domain in (*table.sources, *table.shifted):
        split = table.reference_split if domain in table.sources else "test"
        own = [t for t in done if not table.leave_one_out or domain not in t.spec.data.sources]
        cells[domain] = [Cell(trial.id, (row.variant, domain, split)) for trial in own]
    return cells


def _statistics(results: Results, table: Table, inputs: _Inputs) -> TableStatistics:
    outcomes: dict[int, RowOutcomes] = {}
    reasons = dict(inputs.reasons)
    trials = (cell.trial for cells in inputs.cells.values() for of_domain in cells.values() for cell in of_domain)
    with ReadAhead(results, trials) as files:
        images = SharedImages(results, max(len(inputs.seeds), 1), files.take)
        for index, cells in inputs.cells.items():
            try:
                outcomes[index] = images.row(table.rows[index].name, cells)
            except PredictionsError as error:
                reasons[index] = str(error)
    numbers = _Numbers(table, outcomes, {domain: block.labels for domain, block in images.first.items()})
    beside = {} if table.leave_one_out else transfer_intervals(results, table, outcomes, len(inputs.seeds))
    return TableStatistics(
        rows=tuple(
            RowStatistics(why=reasons[index]) if index in reasons else numbers.row(index, beside.get(index, {}))
            for index in range(len(table.rows))
        ),
        num_ranked=len(outcomes),
        seeds=inputs.seeds if outcomes else (),
    )


class _Numbers:
    """The statistics of the rows whose outcomes are there: index in the table -> outcomes."""

    def __init__(
        self, table: Table, outcomes: Mapping[int, RowOutcomes], labels: Mapping[str, NDArray[np.int32]]
    ) -> None:
        self.table, self.outcomes, self.labels = table, outcomes, labels
        self.parts = {name: part for name, part in (("reference", table.sources), ("shift", table.shifted)) if part}
        self.place = {index: place for place, index in enumerate(outcomes)}
        if not outcomes:
            return
        bootstrap = PairedBootstrap({domain: self._all(domain) for domain in labels})
        self.ranks = rank(bootstrap, table.shifted).intervals
        self.domains = {domain: _intervals(bootstrap.accuracies([domain])) for domain in labels}
        self.means = {name: _intervals(bootstrap.accuracies(part)) for name, part in self.parts.items()}
        self.zero_shot, self.baseline = self._index(table.zero_shot), self._index(table.baseline)
        self.versus = {
            other: {
                name: _intervals(bootstrap.differences(self.place[other], part)) for name, part in self.parts.items()
            }
            for other in (self.zero_shot, self.baseline)
            if other is not None
        }

    def row(self, index: int, beside: Mapping[str, Interval]) -> RowStatistics:
        """`beside`: intervals on datasets of transfer."""
        place, several = self.place[index], len(self.outcomes) > 1
        zero_shot = self.zero_shot
        return RowStatistics(
            domains={domain: found[place] for domain, found in self.domains.items()} | dict(beside),
            **{name: found[place] for name, found in self.means.items()},
            to_zero_shot=self._compared(index, zero_shot),
            to_baseline=self._compared(index, self.baseline),
            rank=self.ranks[place] if several else None,
            calibration=self._calibration(index),
            classes={} if zero_shot is None or zero_shot == index else self._classes(index, zero_shot),
        )

    def _all(self, domain: str) -> Correct:
        """(rows, seeds, images)"""
        return np.stack([found.correct[domain] for found in self.outcomes.values()])

    def _index(self, row: Row | None) -> int | None:
        """Place in the table of a row that has outcomes."""
        return next((index for index in self.outcomes if self.table.rows[index] is row), None)

    def _compared(self, index: int, other: int | None) -> ComparisonIntervals:
        if other is None or other == index:
            return ComparisonIntervals()
        return ComparisonIntervals(**{name: found[self.place[index]] for name, found in self.versus[other].items()})

    def _calibration(self, index: int) -> dict[str, Calibration]:
        own = self.outcomes[index]
        return {name: self._curve(own, part) for name, part in self.parts.items()}

    def _curve(self, own: RowOutcomes, part: Sequence[str]) -> Calibration:
        confidences = [own.confidences[domain].ravel() for domain in part]
        return curve(confidences, [own.correct[domain].ravel() for domain in part], self.table.ece_bins)

    def _classes(self, index: int, zero_shot: int) -> dict[str, ClassChanges]:
        ours, others = self.outcomes[index].correct, self.outcomes[zero_shot].correct
        return {
            name: class_changes([self.labels[d] for d in part], [ours[d] for d in part], [others[d] for d in part])
            for name, part in self.parts.items()
        }


def _intervals(estimates: Sequence[Estimate]) -> list[Interval]:
    return [Interval(low=of.low, high=of.high) for of in estimates]
