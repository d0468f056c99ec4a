"""The page on paper: what is left out, that nothing is cut, and that it is light."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from orchestrator.report import build_report
from orchestrator.report import page as page_module
from tests.orchestrator.page_browser import Opened, open_page, with_outcomes
from tests.orchestrator.record_factory import Folder, demo

PAPER = {"width": 1032, "height": 703}
"""CSS pixels of A4 on its side without its margins of 12 mm."""
CONTROLS = ".dt-buttons, .dt-search, .dt-paging, .choices, details.inspector, nav, #status, .modebar"


def printed(browser: Any, path: Path, **context: Any) -> Opened:
    """A page as it is laid out on paper."""
    opened = open_page(browser, path, **context)
    opened.page.set_viewport_size(PAPER)
    opened.page.emulate_media(media="print")
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    opened.page.wait_for_function("[...document.querySelectorAll('.chart')].every(c => c.layout.width === 680)")
    return opened


def wider(opened: Opened) -> list[str]:
    """What reaches beyond the page, to the right or where a box would cut it."""
    return list(
        opened.page.evaluate(
            """() => [...document.querySelectorAll("body, main *, header *")]
            .filter((e) => !e.closest("details.inspector, .modebar, svg, script") && e.getClientRects().length)
            .filter((e) => e.getBoundingClientRect().right > innerWidth + 1 ||
                (getComputedStyle(e).overflowX !== "visible" && e.scrollWidth > e.clientWidth + 1 && !e.closest(".chart")))
            .map((e) => `${e.tagName} ${e.className}: ${e.textContent.slice(0, 40)}`)"""
        )
    )


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paper_has_every_row_no_controls_and_light_colours(browser: Any, tmp_path: Path, scheme: str) -> None:
    opened = printed(browser, build_report(with_outcomes(tmp_path, "mine"))[0], color_scheme=scheme)
    page = opened.page
    assert page.locator(CONTROLS).count() > 5, "they are on the page"
    assert page.locator(CONTROLS).evaluate_all("found => found.filter(e => e.getClientRects().length).length") == 0
    rows = page.locator("table.board tbody tr")
    assert rows.count() == 2 * 3 + 1, "two tables, and the row that failed in the first"
    assert all(row.is_visible() for row in rows.all())
    assert wider(opened) == []
    colours = page.evaluate(
        """() => ["html", "table.board td", "figcaption"].map((what) => {
            const style = getComputedStyle(document.querySelector(what));
            return [style.backgroundColor, style.color];
        })"""
    )
    assert colours[0][0] == "rgb(255, 255, 255)"
    assert [sum(map(int, re.findall(r"\d+", ink)[:3])) < 400 for _, ink in colours] == [True] * 3, colours
    opened.quiet()


@pytest.mark.browser
def test_a_table_of_many_columns_is_not_cut(browser: Any, tmp_path: Path) -> None:
    domains = tuple(f"domain {index} of many" for index in range(24))
    folder = Folder(domains=domains)
    folder.done(folder.trial("zero_shot", kind="reference", sources=()), (50.0,) * 24)
    for seed in (0, 1):
        folder.done(folder.trial("ft", seed, sources=domains[:1]), (60.0 + seed,) * 24)
    opened = printed(browser, build_report(folder.write(tmp_path))[0])
    assert opened.page.locator("#table-0-board thead tr:nth-child(2) th").count() > 28
    assert wider(opened) == []


@pytest.mark.browser
def test_the_rows_of_a_long_table_are_printed_at_once_and_paged_again_after(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "MOST_PLAIN", 120)
    folder = Folder(domains=("real", "sketch"))
    folder.done(folder.trial("zero_shot", kind="reference"), (50.0, 50.0))
    count = 130
    for index in range(count - 1):
        folder.done(folder.trial(f"method {index}"), (60.0, 40.0 + index / 100))
    opened = printed(browser, build_report(folder.write(tmp_path))[0])
    assert opened.page.locator("table.board tbody tr").count() == count
    assert wider(opened) == []
    opened.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert opened.page.locator("table.board tbody tr").count() < count
    opened.quiet()


@pytest.mark.browser
def test_the_pdf_has_wide_pages_for_tables_and_high_ones_for_figures(browser: Any, tmp_path: Path) -> None:
    opened = open_page(browser, build_report(demo().write(tmp_path))[0])
    pdf = opened.page.pdf(prefer_css_page_size=True)
    pages = [(float(w) > float(h)) for w, h in re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf)]
    assert pages[0] and not pages[-1], "a table first, how to read it last"
    assert 3 <= len(pages) <= 9
