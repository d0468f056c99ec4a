"""Tables as text: which columns there are, and each cell as it is shown, with what sorts it and why it is empty.

Shared by the page and by Markdown, so that the two never differ. Text here is plain; each output escapes it in its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from orchestrator.analysis.aggregate import Comparison, Table
from orchestrator.analysis.intervals import Interval, PartIntervals, RowStatistics
from orchestrator.analysis.metrics import NUM_BINS
from orchestrator.analysis.rows import Row
from orchestrator.analysis.series import Series
from orchestrator.analysis.transfer_intervals import TRANSFER_MEAN
from orchestrator.report.numbers import amount, interval_text, mean_sd, nats, percent, points
from orchestrator.report.seen_unseen import SCORES
from orchestrator.report.trend import statistics, trend

EN_DASH = "\N{EN DASH}"
NO_SEEDS = "\N{EN DASH}"
"""Shown where a number of seeds makes no sense: the model does not train."""
CHOSEN = "chosen among the other rows when the report was made, so it is no rival of theirs"
STRICTER = (
    "Ranks are stricter than intervals: they correct for all pairs of rows (Holm), so two rows whose difference has an interval "
    "without 0 can share a rank."
)


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
    """of a difference whose interval excludes 0: -1 or 1; 0 where it holds 0 or there is none"""
    partial: str = ""
    """'1/3' when some seeds are there but not all"""
    interval: str = ""
    """'[80.1, 82.3]', 95 %; '' where there is none"""
    aside: bool = False
    """the interval is of a column where it would take too much room: shown when asked for"""
    best: bool = False
    """no row is surely better"""

    @property
    def full_text(self) -> str:
        """The cell where it has one line: '81.2 ± 0.4 [80.1, 82.3]'."""
        return f"{self.text} {self.interval}" if self.interval and not self.aside else self.text


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    group: str
    """heading over neighbouring columns; '' for none"""
    title: str
    cell: Callable[[int], Cell]
    """index of a row -> its cell"""
    lower_is_better: bool = False
    about: str = ""
    """what a reader who points at the title has to know"""

    @property
    def full_title(self) -> str:
        """The title where the heading over it is not in sight: 'difference to ft: shift mean'."""
        return self.title if self.group.startswith("accuracy") else f"{self.group}: {self.title}"


def columns(table: Table) -> list[Column]:
    """The numeric columns of a table, in reading order."""
    return [
        *_accuracy(table),
        *_rank(table),
        *_robustness(table),
        *_seen_unseen(table),
        *_transfer(table),
        *_differences(table),
        *_nll(table),
        *_ece(table),
        *_cost(table),
    ]


def name(label: str, of: str | None) -> str:
    """A method and what it builds on: 'wise_ft of lipsum_ft'."""
    return label + (f" of {of}" if of else "")


def seeds(row: Row) -> str:
    """How many seeds a row has: '3', or '1 of 3'; nothing where no seed is involved."""
    series = next(iter(row.accuracy.values()), None)
    if series is None or (series.constant and not series.missing):
        return NO_SEEDS
    return str(series.n) if not series.missing else f"{series.n} of {series.planned}"


def _accuracy(table: Table) -> Iterator[Column]:
    group = "accuracy, %"
    held_out = ", val" if table.reference_split == "val" else ""
    alone = len(table.sources) == 1
    for domain in table.sources:
        yield Column(
            group, f"{domain} (ref.{held_out})", _with_interval(table, _on(domain), _of(domain), aside=not alone)
        )
    if len(table.sources) > 1:
        mean = _with_interval(table, lambda row: row.reference, lambda found: found.reference)
        yield Column(group, "reference mean", mean)
    for domain in table.shifted:
        yield Column(group, domain, _with_interval(table, _on(domain), _of(domain), aside=True))
    if table.shifted:
        yield Column(group, shift_mean(table), _shift_cells(table))
    if len(table.shifted) > 1:
        yield Column(
            group, "worst", _with_interval(table, lambda row: row.worst, lambda found: found.worst, aside=True)
        )
    if table.leave_one_out:
        mean = _with_interval(table, lambda row: row.reference, lambda found: found.reference)
        yield Column(group, f"source mean (ref.{held_out})", mean)


def _of(domain: str) -> Callable[[RowStatistics], Interval | None]:
    return lambda found: found.domains.get(domain)


def _with_interval(
    table: Table,
    pick: Callable[[Row], Series],
    interval: Callable[[RowStatistics], Interval | None],
    aside: bool = False,
    show: Callable[[float], str] = percent,
) -> Callable[[int], Cell]:
    def cell(index: int) -> Cell:
        shown = _cell(pick(table.rows[index]), show, show)
        found = interval(statistics(table, index)) if shown.order is not None else None
        return replace(shown, interval=interval_text(found, show), aside=aside)

    return cell


def _shift_cells(table: Table) -> Callable[[int], Cell]:
    cells = _with_interval(table, lambda row: row.shift, lambda found: found.shift)
    return lambda index: replace(cells(index), best=statistics(table, index).tied and not table.rows[index].chosen)


def _rank(table: Table) -> Iterator[Column]:
    if table.statistics is None or table.statistics.num_ranked < 2:
        return

    def cell(index: int) -> Cell:
        found = statistics(table, index)
        if found.rank is None:
            return Cell("", None, CHOSEN if table.rows[index].chosen else found.why)
        low, high = found.rank
        return Cell(str(low) if low == high else f"{low}{EN_DASH}{high}", low + high / 1e6, best=found.tied)

    yield Column("rank", f"of {table.statistics.num_ranked}", cell, lower_is_better=True, about=STRICTER)


def _robustness(table: Table) -> Iterator[Column]:
    """Nothing where no line can be fitted; the caption of the scatter says why."""
    fitted = trend(table)
    if fitted.line is None:
        return

    def cell(index: int) -> Cell:
        row, found = table.rows[index], statistics(table, index)
        return _difference(fitted.robustness(row), fitted.interval(row, found))

    yield Column("effective robustness", "points", cell, about=fitted.chord)


def _transfer(table: Table) -> Iterator[Column]:
    group = "accuracy on datasets not trained on, %"
    for place in table.transfer:
        yield Column(group, place, _with_interval(table, _transferred(place), _of(place), aside=True))
    if len(table.transfer) > 1:
        mean = _with_interval(table, lambda row: row.transfer_mean, _of(TRANSFER_MEAN), aside=True)
        yield Column(group, "transfer mean", mean)


def _transferred(place: str) -> Callable[[Row], Series]:
    return lambda row: row.transfer[place]


def shift_mean(table: Table) -> str:
    """What the mean over the shifted domains is called."""
    return "held-out mean" if table.leave_one_out else "shift mean"


def _seen_unseen(table: Table) -> Iterator[Column]:
    for score in SCORES:
        if all(score.of(row) for row in table.rows):
            cell = _with_interval(table, score.series, score.interval, aside=score.title != "H")
            yield Column(f"generalised zero-shot {score.way}, %", score.title, cell)


def _on(domain: str) -> Callable[[Row], Series]:
    return lambda row: row.accuracy[domain]


def _differences(table: Table) -> Iterator[Column]:
    others: tuple[tuple[Row | None, Sequence[Comparison], Callable[[RowStatistics], PartIntervals]], ...] = (
        (table.zero_shot, table.to_zero_shot, lambda found: found.to_zero_shot),
        (table.baseline, table.to_baseline, lambda found: found.to_baseline),
    )
    for other, comparisons, intervals in others:
        if other is None or len(table.rows) < 2:
            continue
        group = f"difference to {other.name}"
        if table.has_reference:
            yield Column(group, "reference", _reference_differences(table, comparisons, intervals))
        if table.shifted:
            yield Column(group, shift_mean(table), _shift_differences(table, comparisons, intervals))


def _reference_differences(
    table: Table, comparisons: Sequence[Comparison], found: Callable[[RowStatistics], PartIntervals]
) -> Callable[[int], Cell]:
    return lambda index: _difference(comparisons[index].reference, found(statistics(table, index)).reference)


def _shift_differences(
    table: Table, comparisons: Sequence[Comparison], found: Callable[[RowStatistics], PartIntervals]
) -> Callable[[int], Cell]:
    return lambda index: _difference(comparisons[index].shift, found(statistics(table, index)).shift)


def _difference(series: Series, interval: Interval | None) -> Cell:
    cell = _cell(series, points, percent)
    if interval is None or cell.order is None:
        return cell
    return replace(cell, interval=interval_text(interval, points), sign=(interval.low > 0) - (interval.high < 0))


def _nll(table: Table) -> Iterator[Column]:
    both = (lambda row: row.reference_nll), (lambda row: row.shift_nll)
    yield from _both(table, "NLL, nats", *both, lambda found: found.nll, nats)


def _ece(table: Table) -> Iterator[Column]:
    recorded = table.ece_bins == NUM_BINS
    if recorded and all(row.shift_ece.mean is None and row.reference_ece.mean is None for row in table.rows):
        return
    both = (lambda row: row.reference_ece), (lambda row: row.shift_ece)
    yield from _both(table, f"ECE, {table.ece_bins} bins, %", *both, lambda found: found.ece, percent)


def _both(
    table: Table,
    group: str,
    reference: Callable[[Row], Series],
    shift: Callable[[Row], Series],
    intervals: Callable[[RowStatistics], PartIntervals],
    show: Callable[[float], str],
) -> Iterator[Column]:
    """Something of which less is better, on the reference domain and on the shifted ones."""
    if table.has_reference:
        cell = _with_interval(table, reference, lambda found: intervals(found).reference, aside=True, show=show)
        yield Column(group, "reference", cell, lower_is_better=True)
    if table.shifted:
        cell = _with_interval(table, shift, lambda found: intervals(found).shift, aside=True, show=show)
        yield Column(group, shift_mean(table), cell, lower_is_better=True)


def _cost(table: Table) -> Iterator[Column]:
    if any(row.train_seconds.mean is not None for row in table.rows):
        yield Column("training", "s", _cells(table, lambda row: row.train_seconds, amount), lower_is_better=True)
    if any(row.gpu_hours.mean is not None for row in table.rows):
        yield Column("training", "GPU-h", _cells(table, lambda row: row.gpu_hours, amount), lower_is_better=True)


def _cells(table: Table, pick: Callable[[Row], Series], show: Callable[[float], str]) -> Callable[[int], Cell]:
    return lambda index: _cell(pick(table.rows[index]), show, show)


def _cell(series: Series, show: Callable[[float], str], unit: Callable[[float], str]) -> Cell:
    mean = series.mean
    if mean is None:
        return Cell("", None, series.why, partial=f"{series.n}/{series.planned}" if series.missing else "")
    return Cell(mean_sd(series, show, unit), mean)
