"""The papers' tables and figures with ours beside them, from a folder of results. Needs neither ray nor torch nor a network."""

from __future__ import annotations

from pathlib import Path

from orchestrator.records import Results, write_atomic
from orchestrator.views.catalog import VIEWS, ViewError, find
from orchestrator.views.join import load
from orchestrator.views.page import html_text
from orchestrator.views.text import csv_text, latex, markdown

__all__ = ["VIEWS", "ViewError", "build_views", "list_views"]


def build_views(results: Path, name: str) -> list[Path]:
    """Write views/NAME.html, .md, .tex and .csv into `results`, of every view for the name 'all'; returns their paths.

    Raises ViewError for an unknown name, FileNotFoundError if there is no such folder, ValueError for an unreadable plan.
    """
    views = find(name)
    root = Path(results)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder of results")
    joiner = load(Results(root))
    written = []
    for view in views:
        filled = joiner.fill(view)
        texts = {"html": html_text(filled), "md": markdown(filled), "tex": latex(filled), "csv": csv_text(filled)}
        for suffix, text in texts.items():
            path = root / "views" / f"{view.name}.{suffix}"
            write_atomic(path, text)
            written.append(path)
    return written


def list_views() -> list[str]:
    """A line for each view: its name, what it shows, and the benchmarks that fill it."""
    return [f"{view.name}: {view.title} (filled by {', '.join(view.benchmarks)})" for view in VIEWS.values()]
