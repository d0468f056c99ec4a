"""The papers' tables and figures with ours beside them, from a folder of results. Needs neither ray nor torch nor a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from orchestrator.records import Results, write_atomic
from orchestrator.views.catalog import find, shipped, views
from orchestrator.views.extra import ExtraView, NotHereError
from orchestrator.views.join import load
from orchestrator.views.latex import latex
from orchestrator.views.page import html_text
from orchestrator.views.paper import ViewError
from orchestrator.views.text import csv_text, markdown

__all__ = ["NotHereError", "ViewError", "build_views", "list_views", "unreadable", "views"]


def build_views(results: Path, name: str, left_out: Callable[[str], None] | None = None) -> list[Path]:
    """Write views/NAME.html, .md, .tex and .csv into `results`; returns the paths of what was written.

    `name`: of a view, a YAML file's path for its views, or 'all'. Of several views those that need what is not here are
    left out, and `left_out` is told why; so are files of views that are wrong (`unreadable`). Raises ViewError for an
    unknown name or a wrong file of the user's, NotHereError for a single view that cannot be made here, FileNotFoundError
    if there is no such folder, ValueError for an unreadable plan.
    """
    chosen = find(name)
    root = Path(results)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder of results")
    joiner = load(Results(root))
    written = []
    for view in chosen:
        if isinstance(view, ExtraView):
            try:
                written += view.build(root, root / "views")
            except NotHereError as error:
                if left_out is None or len(chosen) == 1:
                    raise
                left_out(f"left out: {error}")
            continue
        filled = joiner.fill(view)
        texts = {"html": html_text(filled), "md": markdown(filled), "tex": latex(filled), "csv": csv_text(filled)}
        for suffix, text in texts.items():
            path = root / "views" / f"{view.name}.{suffix}"
            write_atomic(path, text)
            written.append(path)
    return written


def list_views() -> list[str]:
    """A line for each view: its name, what it shows, and the benchmarks that fill it; those of wrong files are missing."""
    return [f"{view.name}: {view.title} (filled by {', '.join(view.benchmarks)})" for view in find("all")]


def unreadable() -> list[str]:
    """What is wrong with the files in `papers/`, a line for each problem; empty if `all` views are all of them."""
    return list(shipped()[1])
