"""A page with 10,000 rows in one table, in headless Chromium: it opens, sorts, filters, prints and shows rows in detail."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random
from typing import Any

import pytest

from orchestrator.analysis.aggregate import Board, aggregate
from orchestrator.records import Loaded
from orchestrator.report.collection import without_collection
from orchestrator.report.crowd import MOST_LOOKS
from orchestrator.report.drawing import MOST_NAMED
from orchestrator.report.figures import scatter
from orchestrator.report.page import html_text
from tests.orchestrator.page_browser import HOSTILE, embedded_data, inspected, numbers, open_page
from tests.orchestrator.record_factory import Folder

ROWS, PAGE, PRINTED = 10_000, 100, 300


def board(rows: int) -> Board:
    """One table: the zero-shot model, plain fine-tuning, a hostile name, and random numbers under a few methods."""
    folder, rng = Folder(), Random(0)
    folder.done(folder.trial("zero_shot", kind="reference"), (50, 60, 40, 50, 50))
    names = ["ft", HOSTILE, *(f"run {index}" for index in range(rows - 3))]
    for index, name in enumerate(names):
        trial = folder.trial(name, method="ft" if index == 0 else f"method{index % 6}", settings={"number": index})
        folder.done(trial, tuple(rng.randrange(200, 900) / 10 for _ in range(5)))
    return aggregate(folder.plans(), Loaded(records=folder.records))


def test_five_hundred_trials_in_one_table_are_a_small_page_with_the_same_bytes() -> None:
    made = board(501)
    html = html_text(made)
    assert len(html.encode()) < 7_500_000
    assert html_text(made) == html
    first, *rest = made.tables[0].rows
    ordered = [first, *sorted(rest, key=lambda row: -(row.shift.mean or 0))]
    assert [row["name"] for row in inspected(html)] == [row.name for row in ordered], "as the table has them"
    assert [len(data) for data in embedded_data(html) if data[0] and isinstance(data[0], list)] == [501], "rows as data"
    assert "Of the table&#39;s 501 rows the best 40 are shown" in html


def test_more_methods_than_looks_are_one_trace_and_fewer_have_one_each() -> None:
    """A legend of dozens of lines like 'method 3, method 45 and 236 more' hid the figures."""
    legends = []
    for num_methods in (MOST_LOOKS, MOST_LOOKS + 1):
        folder = Folder()
        for index in range(MOST_NAMED + 1):
            trial = folder.trial(f"run {index}", method=f"{HOSTILE}{index % num_methods}", settings={"number": index})
            folder.done(trial, (50 + index / 10,) * 5)
        (table,) = aggregate(folder.plans(), Loaded(records=folder.records)).tables
        traces = [trace for trace in scatter(table)["data"] if trace.get("mode") == "markers"]
        assert sum(len(trace["x"]) for trace in traces) == MOST_NAMED + 1
        legends.append([trace["name"] for trace in traces])
    assert len(legends[0]) == MOST_LOOKS and legends[0][1] == "&lt;img src=x onerror=alert(1)&gt;1"
    assert legends[1] == ["151 rows of 43 methods"]


@pytest.mark.slow
@pytest.mark.browser
def test_ten_thousand_rows_are_usable(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    with without_collection():
        made = board(ROWS)
        path.write_text(html_text(made), encoding="utf-8")
    assert path.stat().st_size < 14_000_000
    begun = time.perf_counter()
    opened = open_page(browser, path)
    assert time.perf_counter() - begun < 30, "a few seconds on a quiet machine"
    page = opened.page
    scatter = page.locator("#table-0-scatter .scatterlayer")
    assert scatter.locator(".points path").count() == ROWS
    assert scatter.locator(".trace:has(.points path)").count() == 7 + 1, "a look for each method, and the star"
    assert len(opened.column(1)) == PAGE
    assert f"Rows 1 to {PAGE} of {ROWS:,}" in opened.texts(".dt-info")

    begun = time.perf_counter()
    page.locator("#table-0-board th[data-full=clipart]").click()
    page.wait_for_selector("th.dt-ordering-desc")
    column = opened.texts("#table-0-board thead tr:nth-child(2) th").index("clipart") + 3
    best = sorted((100 * (row.accuracy["clipart"].mean or 0) for row in made.tables[0].rows), reverse=True)
    assert numbers(opened.column(column)) == pytest.approx(best[:PAGE]), "the best of all rows, not of a page"
    page.locator(".dt-paging-button.next").click()
    assert numbers(opened.column(column)) == pytest.approx(best[PAGE : 2 * PAGE])

    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert numbers(opened.column(column)) == pytest.approx(best[:PRINTED]), "in their order, not all ten thousand"
    assert f"Rows 1 to {PRINTED} of {ROWS:,}; leaderboard-rows.csv has all" in opened.texts(".dt-info")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert f"Rows {PAGE + 1} to {2 * PAGE} of {ROWS:,}" in opened.texts(".dt-info"), "the page that was open"

    page.get_by_label("Filter").fill('"run 99"')
    found = [row.name for row in made.tables[0].rows if "run 99" in row.name]
    assert f"Rows 1 to {PAGE} of {len(found)} ({ROWS:,} without the filter)" in opened.texts(".dt-info")
    page.get_by_label("Filter").fill('"run 9876"')
    assert opened.column(1) == ["run 9876"]
    page.locator("#table-0 details.inspector > summary").click()
    page.locator("#table-0 details.row > summary").click()
    assert opened.texts("#table-0 details.row > summary") == ["run 9876"]
    shown = page.locator("#table-0 details.row[open]").inner_text()
    for text in ("number=9878", "lr=", "Python 3.11.9", "train 20.0, evaluate 2.0", "python -m orchestrator run"):
        assert text in shown

    page.get_by_label("Filter").fill(f'"{HOSTILE}"')
    assert opened.column(1) == [HOSTILE]
    assert opened.texts("#table-0 details.row > summary") == [HOSTILE]
    assert page.locator("main img").count() == 0
    assert time.perf_counter() - begun < 30, "each answers at once"
    opened.quiet()


@pytest.mark.browser
def test_rows_of_a_long_table_look_like_those_of_a_short_one_and_are_copied_whole(browser: Any, tmp_path: Path) -> None:
    pages = []
    for number, count in enumerate((300, 301)):
        path = tmp_path / f"{number}.html"
        path.write_text(html_text(board(count)), encoding="utf-8")
        pages.append(open_page(browser, path))
    plain, long = (opened.page.locator("#table-0-board tbody tr") for opened in pages)
    assert (plain.count(), long.count()) == (300, PAGE)
    kinds = """lines => lines.slice(0, 20).map(line => [...line.cells].map(cell => [
        cell.tagName, cell.textContent.replace(/\\s+/g, " ").trim(), cell.title,
        ["up", "down", "best", "empty", "first", "name"].filter(kind => cell.classList.contains(kind)).join(" ")]))"""
    assert long.evaluate_all(kinds) == plain.evaluate_all(kinds)
    page = pages[1].page
    page.get_by_role("button", name="Copy CSV").click()
    page.locator("#status", has_text="Copied as CSV").wait_for(timeout=5_000)
    page.evaluate("document.body.append(Object.assign(document.createElement('textarea'), { id: 'paste' }))")
    page.locator("#paste").focus()
    page.keyboard.press("Control+V")
    lines = page.locator("#paste").input_value().strip().split("\n")
    assert len(lines) == 1 + 301, "pages that were not looked at too"
    names = [line.split(",", 1)[0] for line in lines[1:]]
    assert names[0] == "zero_shot" and set(names[1:]) == {"ft", HOSTILE, *(f"run {index}" for index in range(298))}
    pages[1].quiet()
