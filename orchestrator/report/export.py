"""The board as Markdown (tables to read) and CSV (every raw value). Deterministic: the same records give the same bytes."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

from orchestrator.analysis.aggregate import Board, Table
from orchestrator.analysis.choice import page_stem, rule_text
from orchestrator.analysis.costs import COSTS, train_seconds
from orchestrator.analysis.grid import Outcome
from orchestrator.analysis.intervals import Difference, Interval
from orchestrator.analysis.rows import Row
from orchestrator.analysis.series import Series
from orchestrator.analysis.transfer_intervals import TRANSFER_MEAN
from orchestrator.report.order import shown_order
from orchestrator.report.remarks import incomplete, no_baseline, no_ece, no_intervals, no_robustness
from orchestrator.report.seen_unseen import SCORES
from orchestrator.report.tables import columns, seeds, shift_mean
from orchestrator.report.trend import Trend, statistics, trend

MEASURES = ("brier", "energy_gap", "energy_gap_absolute", "feature_distortion", "feature_distortion_raw")
"""Of an evaluation, as its record has them; empty where they were not measured."""
CSV_COLUMNS = (
    "benchmark",
    "dataset",
    "model",
    "source",
    "method",
    "label",
    "of",
    "variant",
    "seed",
    "domain",
    "split",
    "accuracy",
    "nll",
    "num_images",
    "num_correct",
    "class_accuracy",
    "ece",
    "ece_bins",
    *MEASURES,
    "selection",
    "selected_step",
    "trial_id",
    "status",
    "reason",
    "images_seen",
    *(cost.name for cost in COSTS),
)
"""One row for each evaluation; a trial without a result has one row with its reason and no numbers. What training cost stands
in each row of a trial, blank where nothing trained or the record does not say; `reason` also says why there is no ECE."""

INTERVALS = (
    "[low, high]: 95 % interval over seeds and images (paired hierarchical bootstrap; of what is no accuracy, its linear "
    "part); those of other columns are in {stem}-rows.csv. rank: places by shift mean that all pairs of rows, with "
    "Holm's adjustment at 5 %, do not exclude."
)
ROWS_COLUMNS = (
    *("benchmark", "model", "source", "row", "seeds", "quantity"),
    *("mean", "sd", "low", "high", "p", "adjusted_p", "why"),
)
"""Of the CSV of rows: one line for each row and quantity; accuracies, differences and ECE as fractions, NLL in nats. Of
differences to the zero-shot model and the baseline also p, two-sided, and Holm's over the rows compared with the same one."""


def rows_csv_text(board: Board) -> str:
    """What the tables show, with full precision: means, standard deviations over seeds and 95 % intervals."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(ROWS_COLUMNS)
    for table in board.tables:
        fitted = trend(table)
        source = "all but the domain" if table.leave_one_out else "+".join(table.sources)
        for index, row in enumerate(table.rows):
            head = [table.benchmark, table.model, source, row.name, seeds(row)]
            writer.writerows([*head, *line] for line in _quantities(table, index, fitted))
    return file.getvalue()


def _quantities(table: Table, index: int, fitted: Trend) -> Iterator[list[object]]:
    row, found = table.rows[index], statistics(table, index)
    for domain, series in row.accuracy.items():
        yield _quantity(f"accuracy on {domain}", series, found.domains.get(domain), found.why)
    yield _quantity("reference accuracy", row.reference, found.reference, found.why)
    yield _quantity("shift mean", row.shift, found.shift, found.why)
    if len(table.shifted) > 1:
        yield _quantity("worst domain", row.worst, found.worst, found.why)
    for other, versus, intervals in (
        (table.zero_shot, table.to_zero_shot[index], found.to_zero_shot),
        (table.baseline, table.to_baseline[index], found.to_baseline),
    ):
        if other is not None and other is not row:
            for name, series, interval in (
                ("reference accuracy", versus.reference, intervals.reference),
                ("shift mean", versus.shift, intervals.shift),
            ):
                yield _quantity(f"{name} minus that of {other.name}", series, interval, found.why)
    if fitted.line is not None:
        yield _quantity("effective robustness", fitted.robustness(row), fitted.interval(row, found), found.why)
    for place, series in row.transfer.items():
        yield _quantity(f"transfer to {place}", series, found.domains.get(place), found.why)
    if len(row.transfer) > 1:
        yield _quantity(TRANSFER_MEAN, row.transfer_mean, found.domains.get(TRANSFER_MEAN), found.why)
    for score in SCORES if row.by_image is not None else ():
        yield _quantity(f"{score.title} {score.way}", score.series(row), score.interval(found), found.why)
    yield from _errors(table, index)
    yield from _costs(row)
    if found.rank is not None:
        yield ["rank by shift mean", None, None, *found.rank, None, None, None]


def _errors(table: Table, index: int) -> Iterator[list[object]]:
    """NLL and calibration errors."""
    row, found = table.rows[index], statistics(table, index)
    ece, shifted = f"ECE in {table.ece_bins} bins", shift_mean(table)
    yield _quantity("NLL, reference", row.reference_nll, found.nll.reference, found.why)
    yield _quantity(f"NLL, {shifted}", row.shift_nll, found.nll.shift, found.why)
    yield _quantity(f"{ece}, reference", row.reference_ece, found.ece.reference, found.why)
    yield _quantity(f"{ece}, {shifted}", row.shift_ece, found.ece.shift, found.why)


def _costs(row: Row) -> Iterator[list[object]]:
    """What a trained row cost, without intervals: s.d. over seeds alone."""
    for cost in COSTS:
        if row.kind == "trained" and cost.name in row.costs:
            yield _quantity(f"training: {cost.words}", row.costs[cost.name], None, "")


def _quantity(name: str, series: Series, interval: Interval | None, why: str) -> list[object]:
    if series.mean is None:
        interval = None
    numbers = [series.mean, series.sd, *((interval.low, interval.high) if interval else (None, None))]
    numbers += [interval.p, interval.adjusted_p] if isinstance(interval, Difference) else [None, None]
    reason = series.why or (why if interval is None else "")
    return [name, *map(_exact, numbers), reason]


def csv_text(board: Board) -> str:
    """All evaluations of all planned trials with full precision; accuracies as fractions, nll in nats."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for o in board.outcomes:
        writer.writerows(_csv_rows(o, board.ece_bins))
    return file.getvalue()


def _csv_rows(o: Outcome, ece_bins: int) -> Iterator[list[object]]:
    spec, trial, record = o.trial.spec, o.trial, o.record
    source = "+".join(spec.data.sources)
    head = [trial.benchmark, spec.data.name, trial.model, source, spec.method, trial.label, trial.of]
    tail = [spec.selection, record.selected_step if record else None, trial.id, o.status, o.reason or o.no_ece]
    trained = record is not None and train_seconds(record) is not None
    spent = [cost.of(record) if record is not None and trained else None for cost in COSTS]
    tail += [(record.images_seen or None) if record is not None and trained else None, *(map(_exact, spent))]
    if o.status != "done" or record is None:
        yield [*head, None, spec.seed, *[None] * (9 + len(MEASURES)), *tail]
        return
    for e in record.evaluations:
        numbers = [repr(e.accuracy), repr(e.nll), e.num_images, e.num_correct, _exact(e.class_accuracy), _exact(e.ece)]
        numbers.append(None if e.ece is None else ece_bins)
        numbers += [_exact(getattr(e, measure)) for measure in MEASURES]
        yield [*head, e.variant, spec.seed, e.domain, e.split, *numbers, *tail]


def _exact(number: float | None) -> str | None:
    return None if number is None else repr(number)


def markdown(board: Board) -> str:
    """The tables in GitHub's Markdown, an empty cell where the grid is incomplete, with the reasons below."""
    done = sum(o.status == "done" for o in board.outcomes)
    lines = [
        "# Leaderboard",
        "",
        f"{done} of {len(board.outcomes)} trials done. Mean ± standard deviation over seeds (ddof = 1).",
    ]
    lines += ["", *(f"- WARNING {escape(line)}" for line in warnings(board)), ""] if any(warnings(board)) else []
    if any(table.statistics and table.statistics.has_intervals for table in board.tables):
        lines += ["", INTERVALS.format(stem=page_stem(board.rule))]
    if board.rule:
        lines += ["", f"Shown: {rule_text(board.rule)}."]
    if board.inferred:
        lines.append("There is no plan in this folder: the grid is inferred from the records.")
    for table in board.tables:
        lines += ["", f"## {escape(heading(table))}", "", *_markdown_table(table)]
    lines += _leftovers(board)
    return "\n".join(lines) + "\n"


def warnings(board: Board) -> Iterator[str]:
    """Differences to published values, each once with its trial before it."""
    records = {o.record.id: o.record for o in board.outcomes if o.record is not None}
    yield from (f"{id}: {line}" for id, record in records.items() for line in record.warnings)


def heading(table: Table) -> str:
    """What a table is about: benchmark, model, reference domains."""
    source = f"reference {table.over}" if table.sources else "nothing trained"
    if table.leave_one_out:
        source = "each domain held out in turn"
    return f"{table.benchmark}, {table.model}, {source}"


def _markdown_table(table: Table) -> list[str]:
    shown = columns(table)
    lines = [_line(["method", "seeds", *(column.full_title for column in shown)]), "|:--|--:|" + "--:|" * len(shown)]
    for index in shown_order(table):
        row = table.rows[index]
        lines.append(_line([row.name, seeds(row), *(column.cell(index).full_text for column in shown)]))
    notes = [f"- {escape(name)}: {escape(why)}" for name, why in incomplete(table)]
    if reason := no_baseline(table):
        notes.append(f"- No differences to plain fine-tuning: {escape(reason)}")
    if reason := no_robustness(table):
        notes.append(f"- No effective robustness: {escape(reason)}")
    notes += [f"- {escape(name)} without interval: {escape(why)}" for name, why in no_intervals(table)]
    notes += [f"- {escape(name)}: {escape(why)}" for name, why in no_ece(table)]
    return [*lines, *(["", *notes] if notes else [])]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(map(escape, cells)) + " |"


def _leftovers(board: Board) -> list[str]:
    lines = []
    lines += [f"- {line}, not shown." for line in unplanned(board)]
    lines += [f"- {escape(path)}: {escape(reason)}" for path, reason in board.unreadable.items()]
    return ["", "## Records not used", "", *lines] if lines else []


def unplanned(board: Board) -> Iterator[str]:
    """Records that are no trial's: those that stale cells had before, and the others."""
    former = {o.stale.record for o in board.outcomes if o.stale is not None} & set(board.unplanned)
    if former:
        yield f"{count(len(former), 'record')} that stale trials had before something changed"
    if others := len(board.unplanned) - len(former):
        yield f"{count(others, 'record')} of trials that no current plan lists"


def count(number: int, noun: str) -> str:
    """'1 record', '2 records'."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def escape(text: str) -> str:
    """Text that Markdown shows as it is: no markup, no HTML, one line, no cell border."""
    text = re.sub(r"([\\`*\[\]|#~])", r"\\\1", " ".join(text.split()))
    text = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
