"""The map of sources and targets of several tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.analysis.aggregate import Table
from orchestrator.report.drawing import COLOURS, PLOT_HEIGHT, Figure, add, as_percent, escape_html, new_figure
from orchestrator.report.numbers import percent, points

MOST_MAPS = 8
"""Methods to choose from in the map of sources and targets."""


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
        gained = [None if a is None or b is None else a - b for a, b in zip(ours, base, strict=True)]
        values.append([as_percent(gain) for gain in gained])
        texts.append(
            [
                "" if a is None else f"{percent(a)}<br>({points(gain)})" if gain is not None else percent(a)
                for a, gain in zip(ours, gained, strict=True)
            ]
        )
    found = [abs(value) for line in values for value in line if value is not None]
    if not found:
        return None
    figure = new_figure("measured on", "fine-tuned on")
    limit = max(1.0, *found)
    add(
        figure,
        type="heatmap",
        x=[escape_html(domain) for domain in domains],
        y=[escape_html(table.over) for table in tables],
        z=values,
        text=texts,
        texttemplate="%{text}",
        zmin=-limit,
        zmax=limit,
        colorscale=[[0, COLOURS[0]], [0.5, "#f5f5f2"], [1, COLOURS[1]]],
        colorbar={"title": {"text": "points"}, "thickness": 12},
        hoverinfo="skip",
        xgap=2,
        ygap=2,
    )
    figure["layout"]["yaxis"] |= {"autorange": "reversed", "showgrid": False}
    figure["layout"]["xaxis"]["showgrid"] = False
    figure["layout"]["height"] = min(PLOT_HEIGHT, 130 + 60 * len(tables))
    return figure
