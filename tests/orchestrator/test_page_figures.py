"""Figures of the page as data: valid plotly, of the right numbers, left out without their data."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from statistics import fmean

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from orchestrator.analysis.aggregate import Table, aggregate
from orchestrator.analysis.board_statistics import with_statistics
from orchestrator.analysis.intervals import Interval, RowStatistics
from orchestrator.analysis.series import Series
from orchestrator.records import Loaded, Results, load_plans, load_records
from orchestrator.report import charts, figures, row_charts
from orchestrator.report.headline import headline
from orchestrator.report.maps import gained, source_target
from orchestrator.report.numbers import points
from orchestrator.report.overlays import BAND, PALE_BAND, fit_text, pareto
from orchestrator.report.page import html_text
from orchestrator.report.published_points import published_points
from orchestrator.report.tables import columns
from orchestrator.report.trend import trend
from tests.orchestrator.page_browser import with_outcomes
from tests.orchestrator.record_factory import Folder, demo, incomplete


def test_figures_are_valid_plotly() -> None:
    for folder in (demo(), incomplete(), demo(seeds=(0,))):
        for table in aggregate(folder.plans(), Loaded(records=folder.records)).tables:
            go.Figure(figures.scatter(table))
            go.Figure(gained(table))


def test_figures_from_outcomes_are_valid_plotly_and_of_the_right_numbers(tmp_path: Path) -> None:
    results = Results(with_outcomes(tmp_path, "better"))
    tables = with_statistics(results, aggregate(load_plans(results), load_records(results))).tables
    table = tables[0]
    assert table.statistics is not None
    forest, logit = row_charts.forest(table), figures.scatter(table, "logit")
    made = [forest, logit, row_charts.every_seed(table), charts.cost(table), *(m for _, m in source_target(tables))]
    made += [charts.calibration(table, part) for part in ("reference", "shift")]
    assert len(made) == 8
    for figure in made:
        go.Figure(figure)
    interval = table.statistics.rows[2].to_baseline.shift
    assert forest is not None and interval is not None
    assert [100 * interval.low, 100 * interval.high] in [trace["x"] for trace in forest["data"]]
    better = next(trace for trace in logit["data"] if trace.get("name") == "better")
    mean = table.rows[2].shift.mean or 0
    assert better["y"] == [pytest.approx(np.log(mean / (1 - mean)))]
    shift = table.statistics.rows[2].shift
    assert shift is not None
    assert better["error_y"]["array"] == [pytest.approx(np.log(shift.high / (1 - shift.high)) - better["y"][0])]


def test_an_axis_holds_whole_intervals_unless_one_is_far_longer_than_most() -> None:
    """The best 40 of thousands of rows lie within two points, their intervals reach over twelve."""
    means = [Series({0: 0.10 + 0.0005 * place}) for place in range(40)]
    ends = [Interval(low=(of.mean or 0) - 0.06, high=(of.mean or 0) + 0.06) for of in means]
    low, high = row_charts.axis_range(means, ends, [0.0])
    assert -1 < low < 0 and 17.95 < high < 19
    ends[3] = Interval(low=-0.9, high=1.0)
    low, high = row_charts.axis_range(means, ends, [0.0])
    assert -14 < low < -11 and 23 < high < 26, "points stay apart"
    assert row_charts.axis_range([Series({0: 0.5})], [None], []) == pytest.approx([49.8, 50.2])


def test_figures_without_their_data_are_left_out() -> None:
    folder = demo(seeds=(0,))
    (table,) = aggregate(folder.plans(), Loaded(records=folder.records)).tables
    assert row_charts.forest(table) is None
    assert row_charts.every_seed(table) is None
    assert charts.calibration(table, "shift") is None
    assert list(source_target([table])) == []
    assert "No figure of single seeds: no row has several" in html_text(
        aggregate(folder.plans(), Loaded(records=folder.records))
    )


def test_interpolations_run_from_zero_shot_to_the_fine_tuned_model() -> None:
    folder = demo(seeds=(0,))
    (table,) = aggregate(folder.plans(), Loaded(records=folder.records)).tables
    path = next(trace for trace in figures.scatter(table)["data"] if trace.get("meta") == {"path": True})
    by_name = {row.name: row for row in table.rows}
    names = ["zero_shot", *(f"wise_ft of ft, alpha={a}" for a in (0.25, 0.5, 0.75)), "ft"]
    assert path["x"] == [100 * (by_name[name].reference.mean or 0) for name in names]
    assert path["y"] == [100 * (by_name[name].shift.mean or 0) for name in names]


PAPER = Path(__file__).parents[2] / "orchestrator" / "published" / "papers" / "lipsum_ft.csv"


def test_the_map_of_rows_and_domains_has_every_difference_to_zero_shot_and_its_interval(tmp_path: Path) -> None:
    results = Results(with_outcomes(tmp_path, "<b>"))
    table = with_statistics(results, aggregate(load_plans(results), load_records(results))).tables[0]
    figure = gained(table)
    assert figure is not None
    go.Figure(figure)
    (trace,) = figure["data"]
    assert figure["layout"]["yaxis"]["ticktext"] == ["&lt;b&gt;", "ft"], "by shift mean, those without one left out"
    assert figure["layout"]["xaxis"]["ticktext"] == [
        "real (ref.)",
        "painting",
        "clipart",
        "infograph",
        "sketch",
        "shift mean",
    ]
    by_name = {row.name: index for index, row in enumerate(table.rows)}
    for place, name in enumerate(("<b>", "ft")):
        index = by_name[name]
        row, base = table.rows[index], table.rows[0]
        means = [(row.accuracy[d].mean or 0) - (base.accuracy[d].mean or 0) for d in (*table.sources, *table.shifted)]
        means.append(table.to_zero_shot[index].shift.mean or 0)
        assert trace["z"][place] == pytest.approx([100 * mean for mean in means])
        assert table.statistics is not None
        found = table.statistics.rows[index].to_zero_shot.shift
        assert found is not None
        assert f"[{points(found.low)}, {points(found.high)}]" in trace["hovertext"][place][-1]
        assert "<br>p " in trace["hovertext"][place][-1]
        by_domain = table.statistics.rows[index].versus_zero_shot
        for domain, text in zip((*table.sources, *table.shifted), trace["hovertext"][place][:-1], strict=True):
            shown = f"[{points(by_domain[domain].low)}, {points(by_domain[domain].high)}]"
            assert shown in text.split("<br>")[1], "of the difference, not of the accuracy"
        assert all("<b><b>" not in text for text in trace["hovertext"][place]), "escaped"
    assert trace["zmin"] == -trace["zmax"], "no difference is in the middle"
    assert max(abs(value) for line in trace["z"] for value in line) <= max(1.0, trace["zmax"])
    bare = demo(seeds=(0,))
    bare.plan = [trial for trial in bare.plan if trial.kind != "reference"]
    assert gained(table_of(bare)) is None


def test_a_line_through_few_rows_is_called_a_chord_and_fades() -> None:
    few, folder = trend(table_of(demo())), demo()
    for name in ("ft_long", "ft_short"):
        folder.done(folder.trial(name, method="ft", settings={}), (70 + len(name), 45, 55, 40, 50))
    many = trend(table_of(folder))
    assert few.line is not None and many.line is not None
    assert (len(few.names), len(many.names)) == (2, 4)
    assert few.chord.startswith("The line is a chord through 2 rows") and many.chord == ""
    assert fit_text(few, few.line).count("<span") == 1 and "<" not in fit_text(many, many.line)
    fills = [
        next(trace["fillcolor"] for trace in figures.scatter(table, "linear", fitted)["data"] if trace.get("fill"))
        for table, fitted in ((table_of(demo()), few), (table_of(folder), many))
    ]
    assert fills == [PALE_BAND, BAND]
    (column,) = [column for column in columns(table_of(demo())) if column.group == "effective robustness"]
    assert column.about == few.chord


def test_a_chosen_row_is_a_ring_and_takes_part_in_nothing() -> None:
    folder = Folder()
    folder.done(folder.trial("zero_shot", kind="reference"), (50, 60, 40, 50, 50))
    for index, rate in enumerate((1, 2)):
        folder.done(folder.trial(f"ft lr={rate}", method="ft"), (60 + index, 50 - index, 40, 40, 40))
    (table,) = aggregate(folder.plans(), Loaded(records=folder.records), "oracle").tables
    (chosen,) = [row for row in table.rows if row.chosen]
    scatter = figures.scatter(table)
    (ring,) = [trace for trace in scatter["data"] if trace.get("name") == chosen.name]
    assert ring["marker"]["symbol"] == "circle-open"
    map_of_rows = gained(table)
    assert map_of_rows is not None
    assert map_of_rows["layout"]["yaxis"]["ticktext"] == ["ft lr=1", "ft lr=2"]
    assert not any("oracle" in name for name in trend(table).names)
    assert "oracle" not in headline(table) and "ft lr=2" not in headline(table)


def table_of(folder: Folder) -> Table:
    (table,) = aggregate(folder.plans(), Loaded(records=folder.records)).tables
    return table


def fitted_by_scipy(table: Table) -> tuple[float, float]:
    runs = [row for row in table.rows if row.name in ("zero_shot", "ft")]
    x, y = (
        special.logit([value for row in runs for value in series(row).values.values()])
        for series in (lambda row: row.reference, lambda row: row.shift)
    )
    assert len(x) == 4, "zero-shot and three seeds"
    slope, intercept, *_ = stats.linregress(x, y)
    return slope, intercept


def test_effective_robustness_is_the_height_above_the_line_of_zero_shot_and_plain_runs() -> None:
    table = table_of(demo())
    slope, intercept = fitted_by_scipy(table)
    row = next(row for row in table.rows if row.name == "lipsum_ft")
    above = [
        row.shift.values[s] - special.expit(slope * special.logit(row.reference.values[s]) + intercept)
        for s in (0, 1, 2)
    ]
    fitted = trend(table)
    assert list(fitted.robustness(row).values.values()) == pytest.approx(above)
    (column,) = [column for column in columns(table) if column.group == "effective robustness"]
    assert column.cell(table.rows.index(row)).order == pytest.approx(fmean(above))
    assert column.cell(table.rows.index(row)).text.startswith(f"+{100 * fmean(above):.1f}")


def test_runs_of_the_baselines_method_with_other_recipes_are_points_and_other_settings_are_not() -> None:
    folder = demo()
    for name, settings in (("ft_long", {}), ("ft_from_scratch", {"start": "scratch"})):
        folder.done(folder.trial(name, method="ft", settings=settings), (80, 40, 50, 40, 50))
    fitted = trend(table_of(folder))
    assert fitted.names == ("zero_shot", "ft", "ft_long")
    assert fitted.line is not None
    assert fitted.line.num_points == 5


def test_the_interval_of_effective_robustness_joins_those_of_row_and_line() -> None:
    table = table_of(demo())
    fitted, row = trend(table), next(row for row in table.rows if row.name == "lipsum_ft")
    x, y, mean = row.reference.mean or 0, row.shift.mean or 0, fitted.robustness(row).mean or 0
    assert fitted.line is not None
    low, high = fitted.line.band(x)
    middle = fitted.line.expected(x)
    exact = RowStatistics(reference=Interval(low=x, high=x), shift=Interval(low=y - 0.02, high=y + 0.01))
    found = fitted.interval(row, exact)
    assert found is not None
    assert found.low == pytest.approx(mean - np.hypot(0.02, high - middle))
    assert found.high == pytest.approx(mean + np.hypot(0.01, middle - low))
    wider = fitted.interval(row, exact.model_copy(update={"reference": Interval(low=x - 0.02, high=x + 0.02)}))
    assert wider is not None
    assert wider.low < found.low < found.high < wider.high
    assert fitted.interval(row, RowStatistics(why="no outcomes")) is None


@pytest.mark.parametrize("axes", ["linear", "logit"])
def test_the_line_is_drawn_with_its_band_and_says_how_well_it_fits(axes: str) -> None:
    table = table_of(demo())
    slope, intercept = fitted_by_scipy(table)
    fitted = trend(table)
    assert fitted.line is not None
    figure = figures.scatter(table, axes, fitted)  # type: ignore[arg-type]
    go.Figure(figure)
    band, line = (trace for trace in figure["data"] if trace.get("legendgroup") == "fit")
    r2 = f"{fitted.line.r_squared:.2f}"
    named = re.sub("<[^>]+>", "", line["name"])
    assert named == f"fit: slope \N{MINUS SIGN}{abs(slope):.2f}, R\N{SUPERSCRIPT TWO} = {r2}, n = 4"
    at = np.array(line["x"]) if axes == "logit" else special.logit(np.array(line["x"]) / 100)
    on = slope * at + intercept
    assert line["y"] == pytest.approx(on if axes == "logit" else 100 * special.expit(on), abs=2e-3)
    assert band["x"][: len(line["x"])] == line["x"] == band["x"][len(line["x"]) :][::-1]
    half = len(line["x"])
    assert all(low < y < high for high, y, low in zip(band["y"][:half], line["y"], band["y"][half:][::-1], strict=True))
    low, high = figure["layout"]["xaxis"]["range"]
    assert (line["x"][0], line["x"][-1]) == pytest.approx((low, high), abs=1e-4)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30))
def test_the_pareto_line_has_what_no_other_row_beats(points: list[tuple[float, float]]) -> None:
    def beaten(p: tuple[float, float]) -> bool:
        return any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in points)

    assert pareto(points) == sorted({p for p in points if not beaten(p)})


def published_folder(model: str) -> Folder:
    """The demo's numbers under the name of a dataset and a model that a paper has published values of."""
    folder = demo(folder=Folder(dataset="domainnet"))
    renamed = {}
    for index, trial in enumerate(folder.plan):
        spec = trial.spec.model_copy(update={"model": trial.spec.model.model_copy(update={"name": model})})
        folder.plan[index] = trial.model_copy(update={"spec": spec})
        renamed[trial.id] = folder.records[trial.id].model_copy(update={"spec": spec})
    folder.records = renamed
    return folder


def test_published_values_of_the_same_dataset_model_and_domains_are_hollow_symbols() -> None:
    table = table_of(published_folder("ViT-B-16-quickgelu"))
    with PAPER.open(encoding="utf-8", newline="") as file:
        lines = [
            line
            for line in csv.DictReader(file)
            if (line["table"], line["scenario"], line["reference"], line["backbone"]) == ("1", "DomainNet", "R", "B/16")
            and (line["method"], line["metric"]) == ("Lipsum-FT", "accuracy")
        ]
    values = {line["dataset"]: float(line["mean"]) for line in lines}
    points = published_points(table)
    ours = [p for p in points if p.reference == pytest.approx(values["R"] / 100)]
    shift = fmean(values[name] for name in "PCIS") / 100
    assert any(p.shift == pytest.approx(shift) for p in ours), (values, points)
    figure = figures.scatter(table, published=points)
    go.Figure(figure)
    traces = [trace for trace in figure["data"] if trace.get("name", "").startswith("published: ")]
    assert sum(len(trace["x"]) for trace in traces) == len(points)
    assert all(trace["marker"]["symbol"].endswith("-open") for trace in traces)
    assert all("other protocol: " in text for trace in traces for text in trace["hovertext"])
    for axis, key in (("xaxis", "x"), ("yaxis", "y")):
        low, high = figure["layout"][axis]["range"]
        assert all(low < value < high for trace in traces for value in trace[key])


def test_published_values_of_other_models_and_data_are_left_out() -> None:
    assert published_points(table_of(published_folder("ViT-B-16-elsewhere"))) == []
    assert published_points(table_of(demo())) == []
