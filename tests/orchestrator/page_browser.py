"""A page in headless Chromium without a network, and folders of results to make pages of."""

from __future__ import annotations

import json
import re
import shutil
import zlib
from base64 import b64decode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.records import Results, write_plan
from tests.orchestrator.outcome_factory import write_outcomes
from tests.orchestrator.record_factory import DOMAINS, Folder

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


def open_page(browser: Any, path: Path | str, **context: Any) -> Opened:
    """Wait until a file, or an address with what was chosen, stands in a page of its own."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}, **context).new_page()
    opened = Opened(page)
    page.on("console", lambda message: opened.console.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: opened.console.append(f"error: {error}"))
    page.on("request", lambda request: opened.requests.append(request.url))
    page.on("dialog", lambda dialog: (opened.dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(path.as_uri() if isinstance(path, Path) else path)
    page.wait_for_selector("html[data-charts=drawn][data-tables=ready]", timeout=60_000)
    return opened


def numbers(cells: list[str]) -> list[float]:
    return [float(cell.split("±")[0].replace("\N{MINUS SIGN}", "-")) for cell in cells if cell.strip()]


def embedded_data(html: str) -> list[Any]:
    """What the page's scripts read, in its order: figures, rows of long tables, rows in detail."""
    found = re.findall(r'<script type="(application/json|text/plain)">(.*?)</script>', html, flags=re.DOTALL)
    return [
        json.loads(text if kind == "application/json" else zlib.decompress(b64decode(text))) for kind, text in found
    ]


def inspected(html: str) -> list[dict[str, Any]]:
    """Rows in detail, of all tables."""
    lists = [data for data in embedded_data(html) if isinstance(data, list)]
    return [row for rows in lists for row in rows if isinstance(row, dict) and "facts" in row]


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
