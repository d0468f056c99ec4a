"""A filled view as Markdown and CSV, and what its texts say. What comes from records is escaped for each. No ray, no torch."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.report.export import escape as markdown_escape
from orchestrator.report.numbers import MINUS
from orchestrator.views.join import Cell, FilledPanel, FilledView, Line
from orchestrator.views.spec import PERCENT, Column

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
    """The three numbers of a cell in the precision of the papers' tables."""
    digits = 1 if column.metric in PERCENT else 3
    return Shown(
        _mean(cell.published.mean, cell.published.sd, digits) if cell.published else "",
        _mean(cell.ours.mean, cell.ours.sd, digits) if cell.ours.mean is not None else "",
        _difference(cell, digits),
    )


def _mean(mean: float, sd: float | None, digits: int) -> str:
    return f"{mean:.{digits}f}" + (f" ± {sd:.{digits}f}" if sd is not None else "")


def _difference(cell: Cell, digits: int) -> str:
    if cell.difference is None:
        return ""
    text = signed(cell.difference, digits)
    if not cell.comparable:
        return f"{text} ({NOT_COMPARABLE})"
    if cell.bounds:
        return f"{text} [{signed(cell.bounds[0], digits)}, {signed(cell.bounds[1], digits)}]"
    return text + (f" (s.d. {cell.ours.sd:.{digits}f})" if cell.ours.sd is not None else "")


def signed(value: float, digits: int) -> str:
    """'+0.3', with a proper minus; '0.0' without a sign."""
    text = f"{abs(value):.{digits}f}"
    return text if float(text) == 0 else (MINUS if value < 0 else "+") + text


def legend(filled: FilledView) -> list[str]:
    """What a reader of the tables has to know."""
    percent = {column.metric in PERCENT for panel in filled.view.panels for column in panel.columns}
    units = {True: "accuracies in percent, differences in points", False: "the rest in the units of docs/metrics.md"}
    return [
        f"Published: {filled.view.source}.",
        f"Ours filled by: {', '.join(filled.view.benchmarks)} (benchmarks.yaml). A cell is empty where it was not run, or not in "
        "full.",
        f"{'; '.join(units[kind] for kind in sorted(percent, reverse=True)).capitalize()}. a ± b: mean and s.d. over seeds (ddof "
        "= 1). Difference: ours minus published, the published value taken as it is; in brackets the 95 % interval of ours over "
        "seeds and images, or the s.d. over seeds where per-image outcomes are missing.",
        *filled.view.notes,
    ]


def remarks(panel: FilledPanel) -> Iterator[tuple[str, str]]:
    """(row, what to know about it): why it is not comparable or empty."""
    for line in panel.lines:
        if line.differences:
            yield line.row.title, f"{NOT_COMPARABLE}: " + "; ".join(line.differences)
        for remark in line.remarks:
            yield line.row.title, remark
    for note in panel.notes:
        yield "over the rows", note


def markdown(filled: FilledView) -> str:
    """Tables in GitHub's Markdown."""
    lines = [f"# {markdown_escape(filled.view.title)}", "", *(f"- {markdown_escape(text)}" for text in legend(filled))]
    for panel in filled.panels:
        titles = [f"{column.title} {part}" for column in panel.panel.columns for part in PARTS]
        lines += ["", f"## {markdown_escape(panel.panel.title)}", "", _markdown_line(["method", *titles])]
        lines.append("|:--|" + "--:|" * len(titles))
        lines += [_markdown_line([line.row.title, *flat(line, panel)]) for line in panel.lines]
        notes = [f"- {markdown_escape(row)}: {markdown_escape(text)}" for row, text in remarks(panel)]
        lines += ["", *notes] if notes else []
    return "\n".join(lines) + "\n"


def _markdown_line(cells: list[str]) -> str:
    return "| " + " | ".join(map(markdown_escape, cells)) + " |"


def flat(line: Line, panel: FilledPanel) -> list[str]:
    """The cells of a row as texts, three for each column."""
    found = [shown(cell, column) for cell, column in zip(line.cells, panel.panel.columns, strict=True)]
    return [text for s in found for text in (s.published, s.ours, s.difference)]


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
    bounds = cell.bounds if cell.comparable else None
    numbers = [*published, cell.ours.mean, cell.ours.sd, cell.ours.n, cell.difference, *(bounds or (None, None))]
    comparable = "" if cell.difference is None else "yes" if cell.comparable else "no"
    reasons = ["; ".join(cell.differences), cell.ours.why, " ".join(line.trials)]
    head = [filled.view.name, panel.panel.title, line.row.title, column.title, column.metric]
    return [*head, *("" if n is None else repr(n) for n in numbers), comparable, *reasons]
