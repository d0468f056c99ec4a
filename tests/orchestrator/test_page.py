"""The page as a reader has it: its text, and its life in headless Chromium without a network."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from orchestrator.aggregate import aggregate
from orchestrator.board_statistics import with_statistics
from orchestrator.records import Loaded, Results, load_plans, load_records, write_plan
from orchestrator.report import build_report, charts, figures
from orchestrator.report.page import duration, html_text
from orchestrator.spec import PublishedValue
from tests.orchestrator.outcome_factory import write_outcomes
from tests.orchestrator.record_factory import DOMAINS, Folder, demo, incomplete

HOSTILE = "<img src=x onerror=alert(1)>"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@dataclass
class Opened:
    """A page with everything it said and asked for."""

    page: Any
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def texts(self, selector: str) -> list[str]:
        return [" ".join(text.split()) for text in self.page.locator(selector).all_text_contents()]

    def column(self, number: int) -> list[str]:
        """Cells of a column of the first table, top to bottom."""
        return self.texts(f"#table-0-board tbody tr > :nth-child({number})")

    def quiet(self) -> None:
        """Nothing was logged, asked of a network or popped up."""
        assert self.console == []
        assert self.dialogs == []
        assert [url for url in self.requests if not url.startswith(("file://", "data:", "blob:"))] == []
        assert sum(url.startswith("file://") for url in self.requests) == 1


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on the PATH; `apt-get install chromium` to run the browser tests")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


def open_page(browser: Any, path: Path, **context: Any) -> Opened:
    page = browser.new_context(viewport={"width": 1280, "height": 900}, **context).new_page()
    opened = Opened(page)
    page.on("console", lambda message: opened.console.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: opened.console.append(f"error: {error}"))
    page.on("request", lambda request: opened.requests.append(request.url))
    page.on("dialog", lambda dialog: (opened.dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-charts=drawn][data-tables=ready]", timeout=60_000)
    return opened


def numbers(cells: list[str]) -> list[float]:
    return [float(cell.split("±")[0].replace("\N{MINUS SIGN}", "-")) for cell in cells if cell.strip()]


@pytest.fixture
def demo_page(browser: Any, tmp_path: Path) -> Opened:
    return open_page(browser, build_report(demo().write(tmp_path))[0])


@pytest.mark.browser
def test_charts_and_tables_come_up_in_silence(demo_page: Opened) -> None:
    chart = demo_page.page.locator("#table-0-scatter")
    assert chart.locator(".scatterlayer .points path").count() >= 9 + 9, "every row and the seeds of each"
    assert chart.locator(".scatterlayer .js-line").count() == 3, "two interpolations and y = x"
    assert demo_page.page.locator("#table-0-domains .scatterlayer .points path").count() == 10
    assert demo_page.texts("#table-0-scatter .legendtext") == [
        "ft",
        "lipsum_ft",
        "wise_ft of ft",
        "wise_ft of lipsum_ft",
        "zero_shot",
        "y = x",
    ]
    demo_page.quiet()


@pytest.mark.browser
def test_no_button_sends_a_chart_anywhere(demo_page: Opened) -> None:
    titles = demo_page.page.locator(".modebar-btn").evaluate_all("buttons => buttons.map(b => b.dataset.title)")
    assert set(titles) == {"Download plot", "Zoom", "Pan", "Zoom in", "Zoom out", "Reset axes"}


@pytest.mark.browser
def test_a_click_sorts_by_number(demo_page: Opened) -> None:
    plan_order = demo_page.column(1)
    header = demo_page.page.locator("#table-0-board thead tr:nth-child(2) th", has_text="shift mean").nth(1)
    column = 11
    assert numbers(demo_page.column(column)) != sorted(numbers(demo_page.column(column)), reverse=True)
    header.click()
    demo_page.page.wait_for_selector("th.dt-ordering-desc")
    found = numbers(demo_page.column(column))
    assert found == sorted(found, reverse=True), "as numbers, minus signs included"
    assert len({value < 0 for value in found}) == 2, "both signs are there to tell text from numbers"
    assert demo_page.column(column)[-1] == "", "the empty cell of zero-shot itself comes last"
    header.click()
    demo_page.page.wait_for_selector("th.dt-ordering-asc")
    found = numbers(demo_page.column(column))
    assert found == sorted(found)
    header.click()
    demo_page.page.wait_for_selector("th.dt-ordering-asc", state="detached")
    assert demo_page.column(1) == plan_order
    demo_page.quiet()


@pytest.mark.browser
def test_the_first_click_puts_the_best_first_and_holes_last(browser: Any, tmp_path: Path) -> None:
    opened = open_page(browser, build_report(incomplete().write(tmp_path))[0])
    headers = opened.page.locator("#table-0-board thead tr:nth-child(2) th")
    for index, best in ((0, max), (12, min)):
        headers.nth(index).click()
        opened.page.wait_for_selector(f"th.dt-ordering-{'desc' if best is max else 'asc'}")
        cells = opened.column(index + 3)
        shown, holes = cells[:5], cells[5:]
        assert numbers(shown)[0] == best(numbers(shown))
        assert holes == ["1/3"] * 4
    opened.quiet()


@pytest.mark.browser
def test_filter_and_columns(demo_page: Opened) -> None:
    page = demo_page.page
    page.get_by_label("Filter").fill("lipsum")
    assert demo_page.column(1) == ["lipsum_ft", *(f"wise_ft of lipsum_ft, alpha={a}" for a in (0.25, 0.5, 0.75))]
    page.get_by_label("Filter").fill("")
    page.get_by_role("button", name="Columns").click()
    page.locator(".dt-button-collection").get_by_text("painting").click()
    assert "painting" not in " ".join(demo_page.texts("#table-0-board thead th"))
    demo_page.quiet()


@pytest.mark.browser
def test_hover_shows_every_value(demo_page: Opened) -> None:
    chart = demo_page.page.locator("#table-0-scatter")
    chart.scroll_into_view_if_needed()
    star = chart.locator(".scatterlayer .trace").last.locator("xpath=preceding-sibling::*[1]").locator("path.point")
    box = star.bounding_box()
    demo_page.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    chart.locator(".hoverlayer .hovertext").wait_for(timeout=5_000)
    text = chart.locator(".hoverlayer .hovertext").text_content()
    for part in ("zero_shot", "real (reference): 55.0", "painting: 52.0", "clipart: 70.0", "shift mean: 58.0", "NLL"):
        assert part in text
    demo_page.quiet()


@pytest.mark.browser
def test_hostile_names_are_text(browser: Any, tmp_path: Path) -> None:
    domains = (HOSTILE, "</script><script>alert(2)</script>", "%{x} <b>bold</b> $a$")
    folder = Folder(benchmark=f"b-{HOSTILE}".replace("/", ""), model=f"m-{HOSTILE}", domains=domains)
    folder.done(folder.trial("zero_shot" + HOSTILE, kind="reference"), (50, 60, 40))
    base = folder.trial(f"ft {HOSTILE}", 0, sources=(HOSTILE,), method="ft")
    folder.done(base, (70, 50, 30))
    wise = folder.trial("wise", 0, sources=(HOSTILE,), kind="post_hoc", of=f"ft {HOSTILE}", inputs=(base.id,))
    folder.done(wise, {HOSTILE: (60, 55, 40)}, {HOSTILE: {"alpha": 0.5}})
    folder.failed(folder.trial(HOSTILE, 1, sources=(HOSTILE,)), type="</script>", message=HOSTILE)
    html = html_text(aggregate(folder.plans(), Loaded(records=folder.records)))
    assert HOSTILE not in html
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    opened = open_page(browser, tmp_path / "page.html")
    assert opened.page.locator("main img, nav img, header img").count() == 0
    shown = opened.page.locator("body").inner_text()
    for text in (f"m-{HOSTILE}", f"ft {HOSTILE}", domains[1], domains[2], f"failed: </script>: {HOSTILE}"):
        assert text in shown
    assert f"ft {HOSTILE}" in opened.texts("#table-0-scatter .legendtext")
    assert domains[1] in opened.texts("#table-0-domains .xtick text")
    opened.page.get_by_role("button", name="Columns").click()
    assert domains[1] in [text.rstrip("✓") for text in opened.texts(".dt-button-collection button")]
    assert opened.page.locator("main img").count() == 0
    opened.quiet()


def with_outcomes(root: Path, label: str) -> Path:
    """Two sources, three seeds and per-image outcomes; `label` is a method, and class 0."""
    folder, rng = Folder(domains=DOMAINS), np.random.default_rng(0)
    trials = [folder.trial("zero_shot", kind="reference")]
    trials += [
        folder.trial(name, seed, sources=(source,))
        for source in ("real", "sketch")
        for name in ("ft", label)
        for seed in range(3)
    ]
    for trial in trials:
        folder.done(trial, (55, 60, 50, 40, 45))
    folder.failed(folder.trial("broken", 0), type=HOSTILE, message="no </script> here")
    results = Results(folder.write(root))
    (plan,) = folder.plans()
    write_plan(results, plan.model_copy(update={"classnames": tuple(f"{label} {i}" for i in range(10))}))
    for trial in trials:
        write_outcomes(results, trial, {"ft": 0.5, label: 0.8}.get(trial.label, 0.6), rng)
    return root


@pytest.mark.browser
def test_everything_from_outcomes_with_hostile_names(browser: Any, tmp_path: Path) -> None:
    opened = open_page(browser, build_report(with_outcomes(tmp_path, HOSTILE))[0])
    page, scatter = opened.page, opened.page.locator("#table-0-scatter")
    for figure in ("table-0-forest", "table-0-seeds", "table-0-cost", "table-0-calibration", "benchmark-0-map-0"):
        assert page.locator(f"#{figure} .plot-container").count() == 1, figure
    assert page.locator("#benchmark-0-map-0 .hm").count() == 1
    assert HOSTILE in opened.texts("#table-0-forest .ytick text")
    before = scatter.locator(".ytick text").all_text_contents()
    place = scatter.locator(".scatterlayer .point").first.get_attribute("transform")
    page.get_by_role("button", name="Logit axes").first.click()
    page.wait_for_function(
        "before => document.querySelector('#table-0-scatter .scatterlayer .point').getAttribute('transform') !== before",
        arg=place,
    )
    assert page.get_by_role("button", name="Logit axes").first.get_attribute("aria-pressed") == "true"
    assert all(0 < float(tick) < 100 for tick in scatter.locator(".ytick text").all_text_contents())
    page.get_by_role("button", name="Linear axes").first.click()
    page.wait_for_function(
        "before => document.querySelector('#table-0-scatter .scatterlayer .point').getAttribute('transform') === before",
        arg=place,
    )
    assert scatter.locator(".ytick text").all_text_contents() == before
    page.locator("#table-0 details.inspector > summary").click()
    page.locator("#table-0 details.row > summary", has_text=HOSTILE).click()
    shown = page.locator("#table-0 details.row[open]").inner_text()
    for text in (f"{HOSTILE} 0", "lr=", "Python 3.11.9", "train 20.0, evaluate 2.0", "python -m orchestrator run"):
        assert text in shown
    page.locator("#table-0 details.row > summary", has_text="broken").click()
    assert f"failed: {HOSTILE}: no </script> here" in page.locator("#table-0 details.row[open]").last.inner_text()
    bold = page.locator("#table-0-board td.best small").first
    assert re.fullmatch(r"\[\d+\.\d, \d+\.\d\]", bold.inner_text().strip())
    assert page.locator("main img").count() == 0
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function("() => document.documentElement.scrollWidth === 390")
    opened.quiet()


@pytest.mark.browser
def test_the_policy_stops_requests_and_foreign_scripts(demo_page: Opened) -> None:
    page = demo_page.page
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=http://127.0.0.1:9/a onerror=alert(1)>')")
    page.evaluate(
        "(() => { const s = document.createElement('script'); s.textContent = 'alert(2)'; document.body.append(s) })()"
    )
    failed = page.evaluate("fetch('http://127.0.0.1:9/b').then(() => 'reached', error => error.name)")
    page.wait_for_timeout(200)
    assert failed == "TypeError"
    assert demo_page.dialogs == []
    refused = "\n".join(demo_page.console)
    assert all(
        f"'{directive}" in refused or directive in refused for directive in ("img-src", "script-src", "connect-src")
    )


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_both_themes(browser: Any, tmp_path: Path, scheme: str) -> None:
    opened = open_page(browser, build_report(demo().write(tmp_path))[0], color_scheme=scheme)
    for selector, attribute in (
        ("#table-0-board tbody td", "color"),
        ("#table-0-board tbody td i", "color"),
        ("#table-0-scatter .xtick text", "fill"),
    ):
        ratio = opened.page.locator(selector).first.evaluate(CONTRAST, attribute)
        assert ratio >= 4.5, f"{selector}: contrast {ratio:.1f}"
    opened.quiet()


CONTRAST = """(element, attribute) => {
  const parse = text => (text.match(/[0-9.]+/g) || []).map(Number);
  let node = element, paper = null;
  while (node && !paper) {
    const found = parse(getComputedStyle(node).backgroundColor);
    if (found.length && (found.length < 4 || found[3] > 0)) paper = found;
    node = node.parentElement;
  }
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const [a, b] = [light(parse(getComputedStyle(element)[attribute])), light(paper)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}"""


@pytest.mark.browser
def test_a_change_of_theme_recolours_the_charts(demo_page: Opened) -> None:
    page = demo_page.page
    tick = page.locator("#table-0-scatter .xtick text").first
    before = tick.evaluate("element => getComputedStyle(element).fill")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "before => getComputedStyle(document.querySelector('#table-0-scatter .xtick text')).fill !== before", arg=before
    )
    demo_page.quiet()


@pytest.mark.browser
def test_a_phone_scrolls_tables_not_the_page(browser: Any, tmp_path: Path) -> None:
    opened = open_page(browser, build_report(incomplete().write(tmp_path))[0])
    opened.page.set_viewport_size({"width": 390, "height": 844})
    opened.page.wait_for_timeout(300)
    assert opened.page.evaluate("document.documentElement.scrollWidth") == 390
    region = opened.page.get_by_role("region", name="demo, tiny, reference real")
    assert region.get_attribute("tabindex") == "0", "reachable with the keyboard"
    assert region.evaluate("element => element.scrollWidth > element.clientWidth")
    opened.quiet()


@pytest.mark.browser
def test_without_scripts_the_tables_are_there(browser: Any, tmp_path: Path) -> None:
    path = build_report(demo().write(tmp_path))[0]
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(path.as_uri())
    assert page.locator("#table-0-board tbody tr").count() == 9
    assert "charts are not drawn" in page.locator("noscript").inner_text()


def test_everything_is_inside_once(tmp_path: Path) -> None:
    html = build_report(demo(sources=("real", "sketch")).write(tmp_path))[0].read_text(encoding="utf-8")
    assert html.count("plotly.js v") == 1
    assert html.count('id="tables-bundle"') == 1
    assert html.count('class="chart"') == 2 * len(("scatter", "domains", "seeds", "cost")) + 1, "and one map"
    ours = re.sub(r"<(style|script)\b.*?</\1>", "", html, flags=re.DOTALL)
    assert re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", ours) == []
    assert len(html) < 7_000_000


def test_the_header_strip_counts(tmp_path: Path) -> None:
    html = build_report(incomplete().write(tmp_path))[0].read_text(encoding="utf-8")
    text = " ".join(re.sub(r"<[^>]+>", " ", re.sub(r"<(style|script)\b.*?</\1>", " ", html, flags=re.DOTALL)).split())
    for part in (
        "Trials done 9 of 13 2 failed, 2 missing",
        "reference_val best accuracy on held-out training images",
        "ddof = 1",
        "content 5f5f5f5f5f5f",
        "0123456789ab git commit",
        "11 records newest 2026-01-02 04:",
        "s1 failed: ValueError: loss is not finite at step 31; s2 not run",
        "failed lipsum_ft 1 demo, tiny, real failed: ValueError: loss is not finite at step 31",
        "missing lipsum_ft 2 demo, tiny, real not run",
        "python -m orchestrator run benchmarks.yaml demo",
    ):
        assert part in text


def test_a_rule_that_selects_on_what_it_reports_is_marked() -> None:
    folder = demo()
    folder.plan = [
        t.model_copy(update={"spec": t.spec.model_copy(update={"selection": "reference_test"})}) if t.spec.recipe else t
        for t in folder.plan
    ]
    html = html_text(aggregate(folder.plans(), Loaded(records=folder.records)))
    assert "selects on the split that is reported" in html


def test_figures_are_valid_plotly() -> None:
    for folder in (demo(), incomplete(), demo(seeds=(0,))):
        for table in aggregate(folder.plans(), Loaded(records=folder.records)).tables:
            go.Figure(figures.scatter(table))
            go.Figure(figures.by_domain(table))


def test_figures_from_outcomes_are_valid_plotly_and_of_the_right_numbers(tmp_path: Path) -> None:
    results = Results(with_outcomes(tmp_path, "better"))
    tables = with_statistics(results, aggregate(load_plans(results), load_records(results))).tables
    table = tables[0]
    assert table.statistics is not None
    forest, logit = charts.forest(table), figures.scatter(table, "logit")
    made = [forest, logit, charts.every_seed(table), charts.cost(table), *(m for _, m in charts.source_target(tables))]
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


def test_figures_without_their_data_are_left_out() -> None:
    folder = demo(seeds=(0,))
    (table,) = aggregate(folder.plans(), Loaded(records=folder.records)).tables
    assert charts.forest(table) is None
    assert charts.every_seed(table) is None
    assert charts.calibration(table, "shift") is None
    assert list(charts.source_target([table])) == []
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


def test_many_failures_are_cut_on_the_page_and_counted() -> None:
    folder = Folder()
    folder.done(folder.trial("zero_shot", kind="reference"), (50, 60, 40, 50, 50))
    for seed in range(250):
        folder.trial("ft", seed)
    html = html_text(aggregate(folder.plans(), Loaded(records=folder.records)))
    assert "50 more are in leaderboard.csv" in html
    assert html.count('<td class="missing">') == 200


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (750, "12 min 30 s"), (12_000, "3 h 20 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_header_tells_the_zero_shot_gate_and_rows_show_the_end_of_their_logs(tmp_path: Path) -> None:
    folder = demo()
    gate = next(i for i, trial in enumerate(folder.plan) if trial.kind == "reference")
    value = PublishedValue(domain="real", accuracy=0.55, source="a paper")

    def page() -> str:
        build_report(folder.write(tmp_path))
        return (tmp_path / "leaderboard.html").read_text()

    assert "no published accuracy under this protocol" in page()
    folder.plan[gate] = folder.plan[gate].model_copy(update={"expected": (value,)})
    log = Results(tmp_path).trial(folder.plan[gate].id) / "log.txt"
    log.write_text("first\nsecond\nthird <b>\nlast\n")
    passed = page()
    assert "within 0.3 points of 1 published accuracy" in passed
    assert "second\nthird &lt;b&gt;\nlast" in passed
    assert "first\nsecond" not in passed
    id = folder.plan[gate].id
    folder.records[id] = folder.records[id].model_copy(update={"warnings": ("real is off",)})
    assert "differs from published accuracies, see below" in page()
    del folder.records[id]
    Results(tmp_path).record(id).unlink()
    assert "1 of 1 trials are not done" in page()
