"""What a table cannot show, and why: empty means, missing differences, intervals and figures."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.analysis.aggregate import Table
from orchestrator.analysis.rows import Row
from orchestrator.report.tables import name
from orchestrator.report.trend import trend


def incomplete(table: Table) -> Iterator[tuple[str, str]]:
    """Rows with an empty mean, and why; variants of one method that lack the same seeds are one entry."""
    holes: dict[tuple[str, str | None, str], list[Row]] = {}
    for row in table.rows:
        cells = (*row.accuracy.values(), *row.transfer.values())
        why = next((series.why for series in cells if series.why), "")
        if why:
            holes.setdefault((row.label, row.of, why), []).append(row)
    for (label, of, why), rows in holes.items():
        yield rows[0].name if len(rows) == 1 else f"{name(label, of)}, {len(rows)} variants", why


def no_baseline(table: Table) -> str:
    """Why the columns of differences to the baseline are missing although something trains; '' if they are there."""
    if table.baseline is not None or not any(row.kind == "trained" for row in table.rows):
        return ""
    return table.to_baseline[0].shift.why


def no_intervals(table: Table) -> Iterator[tuple[str, str]]:
    """Rows with means but without intervals where others have them, and why; rows of one reason are one entry."""
    if table.statistics is None or not table.statistics.has_intervals:
        return
    reasons: dict[str, list[Row]] = {}
    for row, found in zip(table.rows, table.statistics.rows, strict=True):
        if found.why and row.shift.mean is not None:
            reasons.setdefault(found.why, []).append(row)
    for why, rows in reasons.items():
        yield rows[0].name if len(rows) == 1 else f"{rows[0].name} and {len(rows) - 1} more", why


def no_ece(table: Table) -> Iterator[tuple[str, str]]:
    """Rows that have no ECE in the bins that were asked for although they are done, and why."""
    reasons: dict[str, list[Row]] = {}
    for row in table.rows:
        if row.shift_ece.mean is None and (why := next((o.no_ece for o in row.outcomes if o.no_ece), "")):
            reasons.setdefault(why, []).append(row)
    for why, rows in reasons.items():
        yield rows[0].name if len(rows) == 1 else f"{rows[0].name} and {len(rows) - 1} more", why


def no_robustness(table: Table) -> str:
    """Why there is no fitted line where there could be one; '' where there is, or none is looked for."""
    return trend(table).why if table.has_reference and table.shifted else ""


def not_drawn(table: Table) -> Iterator[str]:
    """What else a reader could miss in a table and its figures, and why it is not there."""
    yield from (f"{name}: {why}" for name, why in no_ece(table))
    if table.statistics is not None and not table.statistics.has_intervals:
        name, why = table.rows[0].name, table.statistics.rows[0].why
        yield f"No intervals, ranks, calibration curves and changes by class: {name}: {why}"
    if why := no_robustness(table):
        yield f"No fitted line and no effective robustness: {why}"
    if any(row.kind == "trained" for row in table.rows) and all(row.shift.n < 2 for row in table.rows):
        yield "No figure of single seeds: no row has several"
