"""A filled view as Markdown and CSV, and what its texts say. What comes from records is escaped for each. No ray, no torch."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.report.export import escape as markdown_escape
from orchestrator.report.numbers import MINUS, fixed
from orchestrator.views.column_words import UNITS, columns_in_words
from orchestrator.views.join import Cell, FilledPanel, FilledView, Line
from orchestrator.views.match import NOT_RUN
from orchestrator.views.spec import PERCENT, Column, Row

PARTS = ("published", "ours", "difference")
NOT_COMPARABLE = "not comparable"
CSV_COLUMNS = (
    *(
        "view",
        "panel",
        "row",
        "column",
        "metric",
        "published",
        "published_sd",
        "ours",
        "ours_sd",
        "seeds",
        "difference",
    ),
    *("low", "high", "comparable", "protocol_differences", "reason", "trials"),
)
"""One row for each cell; accuracies and their differences in percent, the rest as it is; `low` and `high`: of the difference."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A cell as it is read; '' where there is nothing."""

    published: str
    ours: str
    difference: str


def shown(cell: Cell, column: Column) -> Shown:
    """The three numbers of a cell in the precision of the papers' tables, but three significant digits of small ones."""
    digits = 1 if column.metric in PERCENT else 3
    if digits == 3 and cell.published is None and cell.ours.mean:
        digits = max(digits, 2 - math.floor(math.log10(abs(cell.ours.mean))))
    return Shown(
        _mean(cell.published.mean, cell.published.sd, digits) if cell.published else "",
        _mean(cell.ours.mean, cell.ours.sd, digits) if cell.ours.mean is not None else "",
        _difference(cell, digits),
    )


def _mean(mean: float, sd: float | None, digits: int) -> str:
    return fixed(mean, digits) + (f" ± {fixed(sd, digits)}" if sd is not None else "")


def _difference(cell: Cell, digits: int) -> str:
    if cell.difference is None:
        return ""
    text = signed(cell.difference, digits)
    if cell.bounds:
        text += f" [{signed(cell.bounds[0], digits)}, {signed(cell.bounds[1], digits)}]"
    elif cell.ours.sd is not None and cell.comparable:
        text += f" (s.d. {fixed(cell.ours.sd, digits)})"
    return text if cell.comparable else f"{text} ({NOT_COMPARABLE})"


def signed(value: float, digits: int) -> str:
    """'+0.3', with a proper minus; '0.0' without a sign."""
    text = fixed(abs(value), digits)
    return text if float(text) == 0 else (MINUS if value < 0 else "+") + text


def legend(filled: FilledView) -> list[str]:
    """What a reader of the tables has to know."""
    metrics = dict.fromkeys(column.metric for panel in filled.view.panels for column in panel.columns)
    units = dict.fromkeys(UNITS.get(metric, "accuracies in percent, differences in points") for metric in metrics)
    unit_text = "; ".join(units)
    return [
        f"Published: {filled.view.source}.",
        f"Ours filled by: {', '.join(filled.view.benchmarks)} (benchmarks.yaml). A cell is empty where it was not run, or not in "
        "full.",
        f"{unit_text[0].upper()}{unit_text[1:]}. a ± b: mean and s.d. over seeds (ddof "
        "= 1). Difference: ours minus published, the published value taken as it is; in brackets the 95 % interval of ours over "
        "seeds and images, or the s.d. over seeds where per-image outcomes are missing.",
        *filled.view.notes,
    ]


def facts(panel: FilledPanel) -> list[str]:
    """What a reader has to know about one table: model, data, columns, and why nothing in it can be compared."""
    protocol = panel.panel.protocol
    dataset = ", ".join(filter(None, [protocol.dataset, protocol.what]))
    found = [f"{panel.panel.model} on {dataset}.", f"{columns_in_words(panel.panel)}."]
    for at, column in enumerate(panel.panel.columns):
        if len(column.published) > 1 and any(line.cells[at].published for line in panel.lines):
            found.append(f"Published {column.title}: the mean, taken here, of the paper's rounded cells.")
    return [*found, f"{NOT_COMPARABLE.capitalize()}: {protocol.unknown}."] if protocol.unknown else found


def remarks(panel: FilledPanel) -> Iterator[tuple[str, str]]:
    """(rows, what to know about them): why they are not comparable or empty; rows of one reason are one entry."""
    rows: dict[str, list[Row]] = {}
    for line in panel.lines:
        against = [f"{NOT_COMPARABLE}: " + "; ".join(line.differences)] if line.differences else []
        never_run = [] if any(cell.ours.why != NOT_RUN for cell in line.cells) else [NOT_RUN]
        for text in (*against, *line.remarks, *never_run):
            rows.setdefault(text, []).append(line.row)
    for text, found in rows.items():
        yield "all rows" if len(found) == len(panel.lines) > 1 else _names(found), text
    for note in panel.notes:
        yield "over the rows", note


def _names(rows: Sequence[Row]) -> str:
    """Their titles; of several rows of one curve its name and their number."""
    curves: dict[str, list[Row]] = {}
    for row in rows:
        curves.setdefault(row.curve or row.title, []).append(row)
    return ", ".join(own[0].title if len(own) == 1 else f"{name} ({len(own)} rows)" for name, own in curves.items())


def parts(panel: FilledPanel) -> tuple[str, ...]:
    """The columns of a cell: where nothing at all is published, ours alone."""
    return PARTS if any(cell.published for line in panel.lines for cell in line.cells) else ("ours",)


def markdown(filled: FilledView) -> str:
    """Tables in GitHub's Markdown."""
    lines = [f"# {markdown_escape(filled.view.title)}", "", *(f"- {markdown_escape(text)}" for text in legend(filled))]
    for panel in filled.panels:
        titles = [f"{column.title} {part}" for column in panel.panel.columns for part in parts(panel)]
        lines += ["", f"## {markdown_escape(panel.panel.title)}", "", markdown_escape(" ".join(facts(panel))), ""]
        lines.append(markdown_line(["method", *titles]))
        lines.append("|:--|" + "--:|" * len(titles))
        lines += [markdown_line([line.row.title, *flat(line, panel)]) for line in panel.lines]
        notes = [f"- {markdown_escape(row)}: {markdown_escape(text)}" for row, text in remarks(panel)]
        lines += ["", *notes] if notes else []
    return "\n".join(lines) + "\n"


def markdown_line(cells: Sequence[str]) -> str:
    """A row of a table in GitHub's Markdown, of texts that it shows as they are."""
    return "| " + " | ".join(map(markdown_escape, cells)) + " |"


def flat(line: Line, panel: FilledPanel) -> list[str]:
    """The cells of a row as texts, `parts` of each column."""
    found = [shown(cell, column) for cell, column in zip(line.cells, panel.panel.columns, strict=True)]
    return [getattr(one, part) for one in found for part in parts(panel)]


def csv_text(filled: FilledView) -> str:
    """Every cell in full precision, one a line."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for panel in filled.panels:
        for line in panel.lines:
            for cell, column in zip(line.cells, panel.panel.columns, strict=True):
                writer.writerow(_csv_row(filled, panel, line, cell, column))
    return file.getvalue()


def _csv_row(filled: FilledView, panel: FilledPanel, line: Line, cell: Cell, column: Column) -> list[object]:
    published = (cell.published.mean, cell.published.sd) if cell.published else (None, None)
    numbers = [*published, cell.ours.mean, cell.ours.sd, cell.ours.n, cell.difference, *(cell.bounds or (None, None))]
    comparable = "" if cell.difference is None else "yes" if cell.comparable else "no"
    trials = line.trials if cell.ours.mean is not None else ()
    reasons = ["; ".join(cell.differences), cell.ours.why, " ".join(trials)]
    head = [filled.view.name, panel.panel.title, line.row.title, column.title, column.metric]
    return [*head, *("" if n is None else repr(n) for n in numbers), comparable, *reasons]
