"""Tables as text: which columns there are, and each cell as it is shown, with what sorts it and why it is empty.

Shared by the page and by Markdown, so that the two never differ. Text here is plain; each output escapes it in its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from orchestrator.aggregate import Comparison, Table
from orchestrator.rows import Row, SeenUnseen
from orchestrator.series import Series

MINUS = "\N{MINUS SIGN}"
NO_SEEDS = "\N{EN DASH}"
"""Shown where a number of seeds makes no sense: the model does not train."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table."""

    text: str
    """'81.2 ± 0.4'; '' when there is no number"""
    order: float | None = None
    """what it sorts by"""
    why: str = ""
    """why there is no number"""
    sign: int = 0
    """of a difference: -1, 0 or 1 after rounding"""
    partial: str = ""
    """'1/3' when some seeds are there but not all"""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    group: str
    """heading over neighbouring columns; '' for none"""
    title: str
    cell: Callable[[int], Cell]
    """index of a row -> its cell"""
    lower_is_better: bool = False

    @property
    def full_title(self) -> str:
        """The title where the heading over it is not in sight: 'difference to ft: shift mean'."""
        return self.title if self.group.startswith("accuracy") else f"{self.group}: {self.title}"


def columns(table: Table) -> list[Column]:
    """The numeric columns of a table, in reading order."""
    return [*_accuracy(table), *_seen_unseen(table), *_transfer(table), *_differences(table), *_nll(table)]


def percent(value: float) -> str:
    """A fraction in percent with one decimal."""
    return _signless_zero(f"{100 * value:.1f}")


def points(value: float) -> str:
    """A difference of fractions in percentage points, with its sign."""
    text = percent(abs(value))
    return text if float(text) == 0 else (MINUS if value < 0 else "+") + text


def nats(value: float) -> str:
    """A negative log-likelihood with two decimals."""
    return f"{value:.2f}"


def mean_sd(series: Series, show: Callable[[float], str], unit: Callable[[float], str]) -> str:
    """'81.2 ± 0.4', without the s.d. for one seed, '' for an incomplete series."""
    if series.mean is None:
        return ""
    return show(series.mean) + (f" ± {unit(series.sd)}" if series.sd is not None else "")


def name(label: str, of: str | None) -> str:
    """A method and what it builds on: 'wise_ft of lipsum_ft'."""
    return label + (f" of {of}" if of else "")


def seeds(row: Row) -> str:
    """How many seeds a row has: '3', or '1 of 3'; nothing where no seed is involved."""
    series = next(iter(row.accuracy.values()), None)
    if series is None or (series.constant and not series.missing):
        return NO_SEEDS
    return str(series.n) if not series.missing else f"{series.n} of {series.planned}"


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


def _accuracy(table: Table) -> Iterator[Column]:
    group = "accuracy, %"
    held_out = ", val" if table.reference_split == "val" else ""
    for domain in table.sources:
        yield Column(group, f"{domain} (ref.{held_out})", _cells(table, _on(domain), percent))
    if len(table.sources) > 1:
        yield Column(group, "reference mean", _cells(table, lambda row: row.reference, percent))
    for domain in table.shifted:
        yield Column(group, domain, _cells(table, _on(domain), percent))
    if table.shifted:
        yield Column(group, shift_mean(table), _cells(table, lambda row: row.shift, percent))
    if table.leave_one_out:
        yield Column(group, f"source mean (ref.{held_out})", _cells(table, lambda row: row.reference, percent))


def _transfer(table: Table) -> Iterator[Column]:
    group = "accuracy on datasets not trained on, %"
    for place in table.transfer:
        yield Column(group, place, _cells(table, _transferred(place), percent))
    if len(table.transfer) > 1:
        yield Column(group, "transfer mean", _cells(table, lambda row: row.transfer_mean, percent))


def _transferred(place: str) -> Callable[[Row], Series]:
    return lambda row: row.transfer[place]


def shift_mean(table: Table) -> str:
    """What the mean over the shifted domains is called."""
    return "held-out mean" if table.leave_one_out else "shift mean"


def _seen_unseen(table: Table) -> Iterator[Column]:
    groups: tuple[tuple[str, Callable[[Row], SeenUnseen | None]], ...] = (
        ("generalised zero-shot by class, %", lambda row: row.by_class),
        ("generalised zero-shot by image, %", lambda row: row.by_image),
    )
    for group, scores in groups:
        if any(scores(row) is None for row in table.rows):
            continue
        for title, pick in _SEEN_UNSEEN.items():
            yield Column(group, title, _cells(table, _score(scores, pick), percent))


_SEEN_UNSEEN: dict[str, Callable[[SeenUnseen], Series]] = {
    "S": lambda scores: scores.seen,
    "U": lambda scores: scores.unseen,
    "H": lambda scores: scores.harmonic,
}


def _score(scores: Callable[[Row], SeenUnseen | None], pick: Callable[[SeenUnseen], Series]) -> Callable[[Row], Series]:
    def series(row: Row) -> Series:
        found = scores(row)
        return pick(found) if found else Series({}, absent="not a table of seen and unseen classes")

    return series


def _on(domain: str) -> Callable[[Row], Series]:
    return lambda row: row.accuracy[domain]


def _differences(table: Table) -> Iterator[Column]:
    for other, comparisons in ((table.zero_shot, table.to_zero_shot), (table.baseline, table.to_baseline)):
        if other is None or len(table.rows) < 2:
            continue
        group = f"difference to {other.name}"
        if table.has_reference:
            yield Column(group, "reference", _difference_cells(comparisons, lambda c: c.reference))
        if table.shifted:
            yield Column(group, shift_mean(table), _difference_cells(comparisons, lambda c: c.shift))


def _nll(table: Table) -> Iterator[Column]:
    group = "NLL, nats"
    if table.has_reference:
        yield Column(group, "reference", _cells(table, lambda row: row.reference_nll, nats), lower_is_better=True)
    if table.shifted:
        yield Column(group, shift_mean(table), _cells(table, lambda row: row.shift_nll, nats), lower_is_better=True)


def _cells(table: Table, pick: Callable[[Row], Series], show: Callable[[float], str]) -> Callable[[int], Cell]:
    return lambda index: _cell(pick(table.rows[index]), show, show)


def _difference_cells(
    comparisons: tuple[Comparison, ...], pick: Callable[[Comparison], Series]
) -> Callable[[int], Cell]:
    return lambda index: _cell(pick(comparisons[index]), points, percent, signed=True)


def _cell(series: Series, show: Callable[[float], str], unit: Callable[[float], str], signed: bool = False) -> Cell:
    mean = series.mean
    if mean is None:
        return Cell("", None, series.why, partial=f"{series.n}/{series.planned}" if series.missing else "")
    text = mean_sd(series, show, unit)
    sign = {"+": 1, MINUS: -1}.get(text[0], 0) if signed else 0
    return Cell(text, mean, sign=sign)


def _signless_zero(text: str) -> str:
    return text.removeprefix("-") if float(text) == 0 else text
