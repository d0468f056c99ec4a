"""A view's page in headless Chromium: all that it says and asks for, from its first moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.orchestrator.page_browser import Opened


def open_view(browser: Any, path: Path, ready: str) -> Opened:
    """Open a file and wait until something matches the selector `ready`."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    opened = Opened(page)
    page.on("console", lambda message: opened.console.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: opened.console.append(f"error: {error}"))
    page.on("request", lambda request: opened.requests.append(request.url))
    page.on("dialog", lambda dialog: (opened.dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(path.as_uri())
    page.wait_for_selector(ready, timeout=60_000)
    return opened


def quiet_and_closed(opened: Opened) -> None:
    """Nothing was said or asked for, and the policy lets nothing in: an image of another place is refused."""
    opened.quiet()
    opened.page.evaluate("document.body.append(Object.assign(new Image(), {src: 'https://example.org/a.png'}))")
    opened.page.wait_for_timeout(100)
    assert any("Content Security Policy" in message for message in opened.console), opened.console
