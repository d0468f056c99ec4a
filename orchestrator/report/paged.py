"""Rows of a table that is too long to stand on the page as HTML: compact data, which a script shows page by page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.analysis.aggregate import Table
from orchestrator.analysis.rows import Row
from orchestrator.report.order import shown_order
from orchestrator.report.tables import Cell, Column, seeds

MOST_PLAIN = 300
"""Rows of a table that stand on the page as HTML, readable without scripts."""
UP, DOWN, BEST, ASIDE = 1, 2, 4, 8
"""Flags of a cell; `templates/rows.js` has the same."""


def paged_rows(table: Table, shown: Sequence[Column]) -> list[list[Any]]:
    """For each row, in the order that is shown first: label, what it builds on, variant, kind, seeds, then its cells."""
    order = shown_order(table)
    by_column = [_cells([column.cell(index) for index in order], column.lower_is_better) for column in shown]
    return [
        [row.label, row.of or "", row.variant, kinds(row), seeds(row), *(cells[place] for cells in by_column)]
        for place, row in enumerate(table.rows[index] for index in order)
    ]


def kinds(row: Row) -> str:
    """Classes of its line in the table: 'trained', 'trained chosen'."""
    return " ".join([row.kind, *(["variant"] if row.variant else []), *(["chosen"] if row.chosen else [])])


def _cells(cells: Sequence[Cell], lower_is_better: bool) -> list[list[Any]]:
    """[place, text, flags, interval], or [place, '', flags, reason, partial]; what is at the end and empty is left out.

    The place is that of the cell's number among those of the column, which sorts alike and takes less room; cells without
    one come last when the first click puts the best first.
    """
    orders = sorted({cell.order for cell in cells if cell.text and cell.order is not None})
    place = {order: index for index, order in enumerate(orders)}
    last = len(orders) if lower_is_better else -1
    return [_compact(cell, place.get(cell.order, last) if cell.order is not None else last) for cell in cells]


def _compact(cell: Cell, place: int) -> list[Any]:
    flags = {1: UP, -1: DOWN}.get(cell.sign, 0) | BEST * cell.best | ASIDE * cell.aside
    packed = [place, cell.text, flags, cell.interval] if cell.text else [place, "", flags, cell.why, cell.partial]
    while len(packed) > 2 and not packed[-1]:
        packed.pop()
    return packed
