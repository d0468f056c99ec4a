"""A browser for tests of pages; `tests/orchestrator/page_browser.py` says what can be done with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.report import build_report
from tests.orchestrator.page_browser import CHROMIUM, FLAGS, Opened, open_page
from tests.orchestrator.record_factory import demo


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on the PATH; `apt-get install chromium` to run the browser tests")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def demo_page(browser: Any, tmp_path: Path) -> Opened:
    return open_page(browser, build_report(demo().write(tmp_path))[0])
