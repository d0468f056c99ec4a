"""Maps of differences to the zero-shot model: of rows and domains of a table, and of sources and targets of several tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from orchestrator.analysis.aggregate import Table
from orchestrator.analysis.intervals import Interval
from orchestrator.analysis.rows import Row
from orchestrator.analysis.series import Series, difference
from orchestrator.report.drawing import COLOURS, PLOT_HEIGHT, Figure, add, as_percent, escape_html, new_figure, places
from orchestrator.report.numbers import interval_text, mean_sd, percent, points
from orchestrator.report.row_charts import LINE_HEIGHT, p_text, row_names, shortened
from orchestrator.report.tables import shift_mean
from orchestrator.report.trend import statistics

HEADINGS_HEIGHT = 130
"""Pixels over and under the fields of a table."""
MOST_MAPS = 8
"""Methods to choose from in the map of sources and targets."""
INK = "#1b1d21"
"""Readable on all three colours, in every theme."""
MIDDLE = "#f5f5f2"
"""No difference: between orange for lost and blue for gained, which colour-blind readers tell apart."""


def gained(table: Table) -> Figure | None:
    """Rows by their shift mean, the highest first, and domains, reference first: gained or lost against zero-shot.

    Of many rows the ones that `row_charts.shortened` leaves; None where nothing can be compared.
    """
    zero_shot = table.zero_shot
    if zero_shot is None:
        return None
    where = places(table)
    rows = shortened([row for row in table.rows if table.to_zero_shot[where[id(row)]].shift.mean is not None])
    if not rows:
        return None
    columns = [*table.sources, *table.shifted, shift_mean(table)]
    fields = [[_field(table, row, where[id(row)], column) for column in columns] for row in rows]
    figure = new_figure("", "")
    _heat(
        figure,
        x=list(range(len(columns))),
        y=list(range(len(rows))),
        values=[[difference for difference, _ in line] for line in fields],
        texts=[["" if of is None else points(of) for of, _ in line] for line in fields],
        hovers=[[text for _, text in line] for line in fields],
    )
    figure["layout"]["yaxis"] |= row_names(figure, rows)
    # Above the fields, where they are read first, and slanted, as fields are narrow.
    headings = [escape_html(column) + (" (ref.)" if column in table.sources else "") for column in columns]
    over = {"side": "top", "tickangle": -45, "tickvals": list(range(len(columns))), "ticktext": headings}
    figure["layout"]["xaxis"] |= over
    figure["layout"]["meta"]["narrow"] |= {"xaxis": {"tickangle": -90}, "trace": {"showscale": False}}
    figure["layout"]["height"] = HEADINGS_HEIGHT + LINE_HEIGHT * len(rows)
    return figure


def _field(table: Table, row: Row, index: int, column: str) -> tuple[float | None, str]:
    """Difference to zero-shot as a fraction, and what hovering shows: also the intervals of both numbers."""
    zero_shot, found = table.zero_shot, statistics(table, index)
    if zero_shot is None:
        return None, ""
    versus: Series
    of_difference: Interval | None
    if column in row.accuracy:
        accuracy, interval = row.accuracy[column], found.domains.get(column)
        versus = difference(accuracy, zero_shot.accuracy[column], zero_shot.name)
        of_difference = found.to_zero_shot.reference if (column,) == table.sources else None
        of_difference = of_difference or found.versus_zero_shot.get(column)
    else:
        accuracy, interval = row.shift, found.shift
        versus, of_difference = table.to_zero_shot[index].shift, found.to_zero_shot.shift
    lines = [f"<b>{escape_html(row.name)}</b> on {escape_html(column)}"]
    changed = f"{mean_sd(versus, points, percent) or 'no mean'} {interval_text(of_difference, points)}".rstrip()
    lines += [f"difference {changed}, n = {versus.n}{p_text(of_difference)}"]
    lines += [f"accuracy {mean_sd(accuracy, percent, percent)} {interval_text(interval, percent)}".rstrip()]
    return versus.mean, "<br>".join(lines)


def source_target(tables: Sequence[Table]) -> Iterator[tuple[str, Figure]]:
    """For each method a map of sources and targets: accuracies, coloured by the difference to the zero-shot model.

    `tables` are those of one benchmark and model with one source each. Nothing where there are fewer than two.
    """
    if len(tables) < 2 or any(len(table.sources) != 1 or table.zero_shot is None for table in tables):
        return
    names = [row.name for row in tables[0].rows if row is not tables[0].zero_shot and not row.variant]
    names.sort(key=lambda name: tables[0].baseline is None or name != tables[0].baseline.name)
    for name in names[:MOST_MAPS]:
        if figure := _map(tables, name):
            yield name, figure


def _map(tables: Sequence[Table], name: str) -> Figure | None:
    domains = list(dict.fromkeys(d for table in tables for d in (*table.sources, *table.shifted)))
    values: list[list[float | None]] = []
    texts: list[list[str]] = []
    for table in tables:
        row = next((row for row in table.rows if row.name == name), None)
        ours = [row.accuracy[d].mean if row and d in row.accuracy else None for d in domains]
        base = [
            table.zero_shot.accuracy[d].mean if table.zero_shot and d in table.zero_shot.accuracy else None
            for d in domains
        ]
        changes = [None if a is None or b is None else a - b for a, b in zip(ours, base, strict=True)]
        values.append(changes)
        texts.append(
            [
                "" if a is None else f"{percent(a)}<br>({points(gain)})" if gain is not None else percent(a)
                for a, gain in zip(ours, changes, strict=True)
            ]
        )
    if not any(value is not None for line in values for value in line):
        return None
    figure = new_figure("measured on", "fine-tuned on")
    _heat(figure, [escape_html(d) for d in domains], [escape_html(table.over) for table in tables], values, texts)
    figure["layout"]["height"] = min(PLOT_HEIGHT, 130 + 60 * len(tables))
    return figure


def _heat(
    figure: Figure,
    x: Sequence[Any],
    y: Sequence[Any],
    values: Sequence[Sequence[float | None]],
    texts: Sequence[Sequence[str]],
    hovers: Sequence[Sequence[str]] | None = None,
) -> None:
    """Fractions as fields in points with a text in each, as large as the smallest field allows; the first line on top."""
    limit = max([1.0, *(100 * abs(value) for line in values for value in line if value is not None)])
    hover = {"hoverinfo": "text", "hovertext": hovers} if hovers else {"hoverinfo": "skip"}
    add(
        figure,
        type="heatmap",
        x=x,
        y=y,
        z=[[as_percent(value) for value in line] for line in values],
        text=texts,
        texttemplate="%{text}",
        textfont={"color": INK},
        zmin=-limit,
        zmax=limit,
        colorscale=[[0, COLOURS[0]], [0.5, MIDDLE], [1, COLOURS[1]]],
        colorbar={"title": {"text": "points"}, "thickness": 12},
        xgap=2,
        ygap=2,
        **hover,
    )
    figure["layout"]["yaxis"] |= {"autorange": "reversed", "showgrid": False}
    figure["layout"]["xaxis"]["showgrid"] = False
