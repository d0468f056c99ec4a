"""Intervals, ranks, calibration and classes of a board's tables, from the per-image outcomes of its trials. No ray, no torch.

All rows of a table have to be about the same images and the same seeds, for only then are differences paired; where seeds have
images of their own, rows of a seed are (`image_sets`). A row that is not has no interval, and says why. What was computed is
kept in results/cache/statistics, by a hash of what went into it, so that a page can be made again while a sweep runs and only
what is new is computed.
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

from pydantic import ValidationError

from orchestrator.analysis.aggregate import Board, Table
from orchestrator.analysis.intervals import (
    RowStatistics,
    TableStatistics,
)
from orchestrator.analysis.linear_folds import FoldReferences
from orchestrator.analysis.linear_rows import SaidStatistics
from orchestrator.analysis.outcome_file import file_stamp
from orchestrator.analysis.predictions import PredictionsError
from orchestrator.analysis.products import one_thread
from orchestrator.analysis.read_ahead import OfLastRow, ReadAhead
from orchestrator.analysis.row_numbers import RowNumbers, seen_unseen_domains
from orchestrator.analysis.row_outcomes import (
    Cell,
    Cells,
    Right,
    SharedImages,
    done_by_seed,
    unions,
)
from orchestrator.analysis.rows import Row
from orchestrator.analysis.transfer_intervals import transfer_intervals
from orchestrator.records import Results, write_atomic

VERSION = 7
"""Part of every hash: raise it when the numbers made from the same files change."""

KEPT_BYTES, KEPT_DAYS = 64 * 2**20, 30
"""Of the statistics that the last report did not use: how much is kept, by the time of last use, and for how long."""

RowCells = Mapping[str, list[Cell]]
"""domain -> a cell for each seed, or one that holds for all"""


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What a table's statistics are made from: for each row its cells, or why it has none."""

    cells: dict[int, RowCells]
    reasons: dict[int, str]
    seeds: tuple[int, ...]


def with_statistics(results: Results, board: Board) -> Board:
    """The board with intervals in each table; files are read and the cache is kept below `results`."""
    folder = results.root / "cache" / "statistics"
    used: set[Path] = set()
    tables = []
    with one_thread():
        for table in board.tables:
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
        "chosen": [row.chosen for row in table.rows],
        "reasons": inputs.reasons,
        "references": [[row is other for row in table.rows] for other in (table.zero_shot, table.baseline)],
        "sources": table.sources,
        "shifted": table.shifted,
        "transfer": table.transfer,
        "seen_unseen": seen_unseen_domains(table),
        "folds": [row.folds for row in table.rows] if table.leave_one_out else [],
        "reference_split": table.reference_split,
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
    make = Cells()
    cells = {index: _cells(table, row, make) for index, row in whole.items() if index not in reasons}
    return _Inputs(cells, reasons, common)


def _incomplete(table: Table, row: Row) -> str:
    if not table.shifted:
        return "no shifted domain"
    return row.shift.why or (row.reference.why if table.sources else "")


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def _cells(table: Table, row: Row, make: Cells) -> RowCells:
    """Where a row's outcomes lie; on a domain that is held out, those of the trials that did not train on it."""
    done = done_by_seed(row.outcomes)
    cells = {}
    for domain in (*table.sources, *table.shifted):
        split = table.reference_split if domain in table.sources else "test"
        own = [o for o in done if not table.leave_one_out or domain not in o.trial.spec.data.sources]
        cells[domain] = [make.own(o, row.variant, domain, split) for o in own]
    return cells


def _statistics(results: Results, table: Table, inputs: _Inputs) -> TableStatistics:
    right: dict[int, Right] = {}
    reasons = dict(inputs.reasons)
    trials = (cell.trial for cells in inputs.cells.values() for of_domain in cells.values() for cell in of_domain)
    num_seeds = max(len(inputs.seeds), 1)
    said = SaidStatistics(table)
    with ReadAhead(results, trials) as files:
        read = OfLastRow(files)
        asked = ((table.rows[index].name, cells) for index, cells in inputs.cells.items())
        images = SharedImages(results, num_seeds, read, unions(results, asked))
        folds = FoldReferences(results, table, inputs.cells, num_seeds, read)
        for index, cells in inputs.cells.items():
            read.only({cell.trial for of_domain in cells.values() for cell in of_domain})
            try:
                found = images.row(table.rows[index].name, cells)
                said.add(index, found)
            except PredictionsError as error:
                reasons[index] = str(error)
                continue
            right[index] = found.right
            if table.leave_one_out:
                folds.add(index)
    beside = transfer_intervals(results, table, right, len(inputs.seeds))
    numbers = RowNumbers(table, right, images.labels(), said.finish(), folds)
    return TableStatistics(
        rows=tuple(
            RowStatistics(why=reasons[index]) if index in reasons else numbers.row(index, beside.get(index, {}))
            for index in range(len(table.rows))
        ),
        num_ranked=sum(not table.rows[index].chosen for index in right),
        seeds=inputs.seeds if right else (),
    )
