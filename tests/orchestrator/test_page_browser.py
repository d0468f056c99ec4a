"""The page in headless Chromium without a network: charts, themes, hostile names, and that nothing is asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from orchestrator.analysis.aggregate import aggregate
from orchestrator.records import Loaded
from orchestrator.report import build_report
from orchestrator.report.page import html_text
from tests.orchestrator.page_browser import HOSTILE, Opened, open_page, with_outcomes
from tests.orchestrator.record_factory import Folder, demo


@pytest.mark.browser
def test_charts_and_tables_come_up_in_silence(demo_page: Opened) -> None:
    chart = demo_page.page.locator("#table-0-scatter")
    assert chart.locator(".scatterlayer .points path").count() >= 9 + 9, "every row and the seeds of each"
    assert chart.locator(".scatterlayer .js-line").count() == 6, (
        "two interpolations, Pareto, y = x, the fit and its band"
    )
    assert demo_page.page.locator("#table-0-domains .hm").count() == 1
    fit = demo_page.texts("#table-0-scatter .legendtext")[-1]
    assert re.fullmatch("fit: slope \N{MINUS SIGN}\\d\\.\\d\\d, R\N{SUPERSCRIPT TWO} = [01]\\.\\d\\d, n = 4", fit)
    assert demo_page.texts("#table-0-scatter .legendtext") == [
        "ft",
        "lipsum_ft",
        "wise_ft of ft",
        "wise_ft of lipsum_ft",
        "zero_shot",
        "Pareto line",
        "y = x",
        fit,
    ]
    demo_page.quiet()


@pytest.mark.browser
def test_no_button_sends_a_chart_anywhere(demo_page: Opened) -> None:
    titles = demo_page.page.locator(".modebar-btn").evaluate_all("buttons => buttons.map(b => b.dataset.title)")
    assert set(titles) == {"Download plot", "Zoom", "Pan", "Zoom in", "Zoom out", "Reset axes"}


@pytest.mark.browser
def test_hover_shows_every_value(demo_page: Opened) -> None:
    chart = demo_page.page.locator("#table-0-scatter")
    chart.scroll_into_view_if_needed()
    star = chart.locator(".scatterlayer .trace:has(path.point)").last.locator("path.point")
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
