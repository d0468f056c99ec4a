"""In which order a table's rows are shown."""

from __future__ import annotations

from orchestrator.analysis.aggregate import Table


def shown_order(table: Table) -> list[int]:
    """Indices of the rows as a reader sees them first: the zero-shot model, then by shift mean, the highest first.

    Rows of equal mean, and those without one, which come last, are in the order of the manifest.
    """

    def key(index: int) -> tuple[bool, bool, float]:
        row = table.rows[index]
        return row is not table.zero_shot, row.shift.mean is None, -(row.shift.mean or 0.0)

    return sorted(range(len(table.rows)), key=key)
