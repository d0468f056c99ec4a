"""Which figures the page shows of a table or a benchmark, with titles, captions and what the reader can choose."""

from __future__ import annotations

from typing import Any

from orchestrator.analysis.aggregate import Table
from orchestrator.report import charts, figures, row_charts
from orchestrator.report.crowd import MOST_LOOKS
from orchestrator.report.drawing import MOST_NAMED, Figure, is_crowded, on_path
from orchestrator.report.maps import gained, source_target
from orchestrator.report.overlays import slope_text
from orchestrator.report.published_points import missing_points, published_points
from orchestrator.report.tables import shift_mean
from orchestrator.report.trend import Trend, trend


def maps(tables: list[Table]) -> list[dict[str, Any]]:
    """For each model the map of sources and targets, where there are several sources."""
    shown = []
    for number, model in enumerate(dict.fromkeys(table.model for table in tables)):
        choices = list(source_target([t for t in tables if t.model == model and not t.leave_one_out]))
        if choices:
            title = f"From every source to every target, {model}"
            shown.append(_figure(f"map-{number}", title, MAP, *choices))
    return shown


MAP = "Top-1 accuracy in percent, in brackets the difference to the zero-shot model in points, which is the colour."
CROWD = (
    f" A table of more than {MOST_NAMED} rows has points alone, of one look for each method, or for all if those are more than "
    f"{MOST_LOOKS}: error bars, single seeds and paths would hide one another, their numbers are in the table and in "
    "{stem}-rows.csv."
)
TOGGLE = " Click a name to show or hide it; with the keyboard, Tab, arrows and Enter."
MANY_BARS = 15
"""In figures of more rows error bars are off until a reader asks for them."""
ERROR_BARS = {True: "with 95 % intervals", False: "with s.d. over seeds"}


def panels(table: Table, stem: str = "leaderboard") -> list[dict[str, Any]]:
    """The figures of one table, each only where its data is there; `stem`: what the files beside the page begin with."""
    if not table.has_reference or not table.shifted:
        return []
    bars = ERROR_BARS[table.statistics is not None and table.statistics.has_intervals]
    many = len(table.rows) > row_charts.MOST_ROWS
    most = (
        f" Of the table's {len(table.rows):,} rows the best {row_charts.MOST_ROWS} are shown, without variants; all are in "
        f"{stem}-rows.csv."
    )
    most = most if many else ""
    shown = [_scatter(table, bars, stem)]
    if (chart := row_charts.forest(table)) and table.baseline is not None:
        text = f"Paired by seed and image, 95 % interval; right of 0 is better than {table.baseline.name}."
        shown.append(
            _figure(
                "forest",
                f"Which rows differ from {table.baseline.name} on the {shift_mean(table)}",
                text + most,
                ("", chart),
            )
        )
    if chart := gained(table):
        text = f"Difference to the zero-shot model in percentage points, reference first; rows by {shift_mean(table)}."
        text += " Pointing at a field shows s.d. and interval."
        shown.append(_figure("domains", "Gained and lost on each domain", text + most, ("", chart)))
    if chart := row_charts.every_seed(table):
        shown.append(
            _figure("seeds", "Every seed", f"Open circles are single seeds, symbols means {bars}.{most}", ("", chart))
        )
    if chart := charts.cost(table):
        text = "Training of one seed against the mean accuracy"
        text += f"; up and left is better.{_crowd(stem)}" if is_crowded(table) else f" {bars}; up and left is better."
        shown.append(_figure("cost", "What robustness costs", text, ("", chart)))
    curves = {name: charts.calibration(table, part) for name, part in CURVES.items()}
    if found := [(name, chart) for name, chart in curves.items() if chart]:
        text = f"Below the dotted line a model is surer than it is right. {table.ece_bins} bins over all seeds; larger "
        text += f"points have more images.{TOGGLE}"
        text += _left_out(table)
        shown.append(_figure("calibration", "How far confidence can be trusted", text, *found))
    return shown


def _left_out(table: Table) -> str:
    """Which rows have no calibration curve."""
    text = " Interpolations have none here." if any(on_path(row) for row in table.rows) else ""
    if (number := len(charts.with_curve(table, "shift"))) > charts.MOST_CURVES:
        text += (
            f" Of {number:,} rows {charts.MOST_CURVES} are shown: those that others are compared with, then those with "
        )
        text += f"the highest {shift_mean(table)}."
    return text


def _crowd(stem: str) -> str:
    return CROWD.format(stem=stem)


def _scatter(table: Table, bars: str, stem: str) -> dict[str, Any]:
    fitted, published = trend(table), published_points(table)
    if is_crowded(table):
        text = f"One point for each row, mean over its seeds; the star is the zero-shot model.{_crowd(stem)} "
    else:
        text = (
            f"One point for each row, mean over its seeds {bars} both ways; small dots are single seeds. "
            "The star is the zero-shot model, coloured lines are interpolations between it and a fine-tuned model. "
        )
    text += (
        "Up is more robust, right is better on the reference domain; no row beats those on the Pareto line on both. "
        "On logit axes, log(p / (1 - p)), models that gain alike on both lie on a line."
    )
    if published:
        text += " Hollow grey symbols are published values; pointing at one shows in what its protocol differs."
    if missing := missing_points():
        text += f" {missing}"
    return _figure(
        "scatter",
        f"What a gain on {table.over} costs elsewhere",
        f"{text} {_fit_caption(fitted)}",
        ("Linear axes", figures.scatter(table, "linear", fitted, published)),
        ("Logit axes", figures.scatter(table, "logit", fitted, published)),
    )


def _fit_caption(fitted: Trend) -> str:
    """What the line was fitted to and how well, or why there is none."""
    line = fitted.line
    if line is None:
        return "The line of effective robustness is missing; why stands below the table."
    if fitted.chord:
        return (
            f"Grey line: least squares in logit space over the {line.num_points} runs of {' and '.join(fitted.names)}, slope "
            f"{slope_text(line)}; the height of a row above it is its effective robustness. {fitted.chord}."
        )
    return (
        f"Grey line: least squares in logit space over the {line.num_points} runs of {' and '.join(fitted.names)}, slope "
        f"{slope_text(line)}, R\N{SUPERSCRIPT TWO} = {line.r_squared:.2f}, with the line's 95 % band; the height of a row above "
        "it is its effective robustness. Seeds of one row lie close together, so R\N{SUPERSCRIPT TWO} and the band flatter "
        "a line through few rows."
    )


BARS = ("error_x", "error_y")
CURVES = {"Shifted domains": "shift", "Reference": "reference"}


def _figure(name: str, title: str, caption: str, *choices: tuple[str, Figure]) -> dict[str, Any]:
    """A figure, or several of which the reader chooses one by its label; `bars`: error bars that can be switched, on at first?"""
    with_bars = [trace for trace in choices[0][1]["data"] if any(trace.get(bar, {}).get("visible") for bar in BARS)]
    return {
        "bars": len(with_bars) <= MANY_BARS if with_bars else None,
        "name": name,
        "title": title,
        "caption": caption,
        "labels": [label for label, _ in choices],
        "height": choices[0][1]["layout"]["height"],
        "json": [chart for _, chart in choices],
    }
