"""Tables of the page in a browser: sorting, filter, columns, copying, and the address that keeps all of it."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from orchestrator.analysis.aggregate import aggregate
from orchestrator.records import Loaded
from orchestrator.report import build_report
from orchestrator.report.page import html_text
from tests.orchestrator.page_browser import HOSTILE, Opened, numbers, open_page
from tests.orchestrator.record_factory import Folder, demo, incomplete


@pytest.mark.browser
def test_a_click_sorts_by_number(demo_page: Opened) -> None:
    plan_order = demo_page.column(1)
    header = demo_page.page.locator("#table-0-board thead tr:nth-child(2) th", has_text="shift mean").nth(1)
    column = 12
    assert demo_page.column(column)[0] == "", "zero-shot stands first until the reader sorts"
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
    names = ["lipsum_ft", *(f"wise_ft of lipsum_ft, alpha={a}" for a in (0.25, 0.5, 0.75))]
    assert sorted(demo_page.column(1)) == names
    page.get_by_label("Filter").fill("")
    page.get_by_role("button", name="Columns").click()
    page.locator(".dt-button-collection").get_by_text("painting").click()
    assert "painting" not in " ".join(demo_page.texts("#table-0-board thead th"))
    demo_page.quiet()


@pytest.mark.browser
def test_the_keyboard_is_enough(browser: Any, tmp_path: Path) -> None:
    opened = open_page(browser, build_report(demo().write(tmp_path))[0])
    page, wanted = opened.page, {"Columns", "Copy Markdown", "Filter", "sort", "Logit axes", "Every row in detail"}
    described = """() => {
        const e = document.activeElement;
        if (e === document.body) return "";
        return e.closest("thead") ? "sort" : (e.labels?.[0] ?? e).textContent.trim();
    }"""
    found = []
    for _ in range(200):
        page.keyboard.press("Tab")
        here = next((name for name in wanted if page.evaluate(described).startswith(name)), None)
        if here == "sort" and here not in found:
            page.keyboard.press("Enter")
            page.wait_for_selector("th.dt-ordering-asc, th.dt-ordering-desc")
        found.append(here)
    assert wanted - set(found) == set()
    opened.quiet()


@pytest.mark.browser
def test_names_of_a_legend_are_reached_and_pressed_with_keys(browser: Any, tmp_path: Path) -> None:
    opened = open_page(browser, build_report(demo().write(tmp_path))[0])
    page, names = opened.page, opened.page.locator("#table-0-scatter .legendtoggle")
    focused = "document.activeElement.getAttribute('aria-label')"
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(focused) == "ft":
            break
    assert page.evaluate(focused) == "ft"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "lipsum_ft"
    pressed = """wanted =>
        document.querySelectorAll('#table-0-scatter .legendtoggle')[1].getAttribute('aria-pressed') === wanted"""
    points = page.locator("#table-0-scatter .scatterlayer .points path")
    before = points.count()
    page.keyboard.press("Enter")
    page.wait_for_function(pressed, arg="false")
    assert points.count() == before - 4, "its mean and three seeds"
    assert page.evaluate(focused) == "lipsum_ft", "plotly drew the legend anew"
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(300)
    assert (points.count(), names.nth(1).get_attribute("aria-pressed")) == (before - 4, "false"), "whatever the theme"
    page.keyboard.press("Space")
    page.wait_for_function(pressed, arg="true")
    assert points.count() == before
    page.keyboard.press("Tab")
    assert page.evaluate(focused) not in ("ft", "wise_ft of ft"), "one stop for each legend"
    opened.quiet()


@pytest.mark.browser
def test_error_bars_are_switched_and_the_address_says_so(browser: Any, tmp_path: Path) -> None:
    path = build_report(demo().write(tmp_path))[0]
    opened = open_page(browser, path)
    page, bars = opened.page, opened.page.locator("#table-0-scatter .errorbars path")
    before = bars.count()
    assert before > 0
    switch = page.locator("figure:has(#table-0-scatter)").get_by_role("button", name="Error bars")
    switch.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => !document.querySelector('#table-0-scatter .errorbars path')")
    assert page.url.endswith("#bars.table-0-scatter=off")
    page.get_by_role("button", name="Logit axes").click()
    page.wait_for_timeout(200)
    assert bars.count() == 0
    again = open_page(browser, page.url)
    assert again.page.locator("#table-0-scatter .errorbars path").count() == 0
    switch.click()
    page.wait_for_function(
        "count => document.querySelectorAll('#table-0-scatter .errorbars path').length === count", arg=before
    )
    assert "bars.table" not in page.url
    opened.quiet()


@pytest.mark.browser
def test_the_edge_of_a_table_fades_while_there_is_more(demo_page: Opened) -> None:
    page, box = demo_page.page, demo_page.page.locator("#table-0-board >> xpath=..")
    frame = page.locator("#table-0 .dt-layout-table")
    assert box.evaluate("e => e.scrollWidth > e.clientWidth")
    assert "more" in (frame.get_attribute("class") or "").split()
    box.evaluate("e => e.scrollTo(e.scrollWidth, 0)")
    page.wait_for_function("() => !document.querySelector('#table-0 .dt-layout-table.more')")


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


def paste(page: Any) -> str:
    """What a reader gets from the clipboard."""
    page.evaluate("document.body.append(Object.assign(document.createElement('textarea'), { id: 'paste', value: '' }))")
    page.locator("#paste").focus()
    page.keyboard.press("Control+V")
    text: str = page.locator("#paste").input_value()
    page.evaluate("document.getElementById('paste').remove()")
    return text


def copied(page: Any, name: str) -> str:
    page.get_by_role("button", name=f"Copy {name}").click()
    page.locator("#status", has_text=f"Copied as {name}").wait_for(timeout=5_000)
    return paste(page)


@pytest.mark.browser
def test_a_table_is_copied_as_it_stands(browser: Any, tmp_path: Path) -> None:
    folder = Folder(domains=("real_1", "a|b & 5%"))
    folder.done(folder.trial("zero_shot", kind="reference"), (50, 60))
    folder.done(folder.trial("ft", sources=("real_1",)), (70, 50))
    html = html_text(aggregate(folder.plans(), Loaded(records=folder.records)))
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    shown = ("method", "real_1 (ref.)", "difference to zero_shot: shift mean")
    others = [title for title in re.findall('data-full="([^"]+)"', html) if unescape(title) not in shown]
    hidden = "&".join(f"hide.table-0={quote(unescape(title))}" for title in others)
    opened = open_page(browser, f"{(tmp_path / 'page.html').as_uri()}#{hidden}")
    page = opened.page
    page.locator("th[data-full='real_1 (ref.)']").click()
    page.wait_for_selector("th.dt-ordering-desc")
    assert copied(page, "LaTeX").splitlines() == [
        r"% \usepackage{booktabs}",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"\multicolumn{1}{c}{} & \multicolumn{1}{c}{accuracy, \%} & \multicolumn{1}{c}{difference to zero\_shot} \\",
        r"\cmidrule(lr){2-2} \cmidrule(lr){3-3}",
        r"method & real\_1 (ref.) & shift mean \\",
        r"\midrule",
        r"{}ft & 70.0 & $-$10.0 \\",
        r"{}zero\_shot & 50.0 &  \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    assert copied(page, "Markdown").splitlines() == [
        r"| method | real\_1 (ref.) | difference to zero\_shot: shift mean |",
        "| :-- | --: | --: |",
        "| ft | 70.0 | \N{MINUS SIGN}10.0 |",
        r"| zero\_shot | 50.0 |  |",
    ]
    page.get_by_label("Filter").fill("zero")
    assert copied(page, "CSV").splitlines() == [
        "method,real_1 (ref.),difference to zero_shot: shift mean",
        "zero_shot,50.0,",
    ]
    opened.quiet()


@pytest.mark.browser
def test_the_address_keeps_what_was_chosen(browser: Any, tmp_path: Path) -> None:
    path = build_report(demo(sources=("real", "sketch")).write(tmp_path))[0]
    opened = open_page(browser, path)
    page = opened.page
    page.get_by_label("Filter").nth(1).fill("lipsum")
    page.locator("#table-1-board th[data-full=clipart]").click()
    page.wait_for_selector("#table-1-board th.dt-ordering-desc")
    page.get_by_role("button", name="Columns").nth(1).click()
    page.locator(".dt-button-collection").get_by_text("painting").click()
    page.keyboard.press("Escape")
    page.locator("#table-1 .choices button", has_text="Logit axes").click()
    page.locator("#table-1 details.inspector > summary").click()
    page.locator("#table-1 details.row > summary", has_text=re.compile("^lipsum_ft$")).click()
    page.locator("nav a").nth(1).click()
    page.wait_for_function("() => location.hash.includes('at=table-1') && location.hash.includes('lipsum_ft')")

    def check(found: Opened) -> None:
        rows = found.texts("#table-1-board tbody tr > :nth-child(1)")
        assert sorted(rows)[:1] == ["lipsum_ft"]
        assert len(rows) == 4
        headers = found.texts("#table-1-board thead tr:nth-child(2) th")
        assert "painting" not in headers
        cells = numbers(found.texts(f"#table-1-board tbody tr > :nth-child({headers.index('clipart') + 3})"))
        assert cells == sorted(cells, reverse=True)
        assert found.texts("#table-1-scatter >> xpath=.. >> .choices button[aria-pressed=true]") == ["Logit axes"]
        assert found.texts("#table-1 details.row[open] > summary") == ["lipsum_ft"]
        assert len(found.column(1)) == 9, "the other table is as it was"
        assert "painting" in found.texts("#table-0-board thead tr:nth-child(2) th")
        assert 0 <= found.page.evaluate("document.getElementById('table-1').getBoundingClientRect().top") < 900

    check(opened)
    opened.quiet()
    address = page.url
    page.reload()
    page.wait_for_selector("html[data-charts=drawn][data-tables=ready]")
    check(opened)
    copy = open_page(browser, address)
    check(copy)
    copy.quiet()
    copy.page.get_by_label("Filter").nth(1).fill("")
    copy.page.wait_for_function("() => !location.hash.includes('filter')")


@pytest.mark.browser
def test_a_hostile_address_does_nothing(browser: Any, tmp_path: Path) -> None:
    path = build_report(demo().write(tmp_path))[0]
    plain = open_page(browser, path)
    bad = f"{HOSTILE}&__proto__=1&constructor=x&%E0%A4%A&sort.table-0=desc {HOSTILE}&sort.table-0=sideways clipart"
    bad += f"&hide.table-0={HOSTILE}&hide.table-0=method&hide.table-9=clipart&show.table-0-scatter={HOSTILE}"
    bad += f"&open={HOSTILE}&open=table-0/{HOSTILE}&at={HOSTILE}&at=javascript:alert(1)&show.__proto__=a"
    opened = open_page(browser, f"{path.as_uri()}#{bad}")
    assert opened.texts("#table-0-board th, #table-0-board td") == plain.texts("#table-0-board th, #table-0-board td")
    assert opened.texts(".choices button[aria-pressed=true]") == ["Linear axes"]
    assert opened.page.locator("details[open]").count() == 0
    assert opened.page.locator("main img").count() == 0
    opened.page.evaluate(f"location.hash = 'filter.table-0=' + encodeURIComponent({HOSTILE!r})")
    opened.page.locator("#table-0-board td.dt-empty").wait_for()
    assert opened.page.get_by_label("Filter").input_value() == HOSTILE
    assert opened.page.locator("main img").count() == 0
    opened.quiet()
