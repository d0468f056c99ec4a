"""Builds the leaderboard from a folder of results: a page, Markdown and CSV. Needs neither ray nor torch nor a network."""

from __future__ import annotations

from pathlib import Path

from orchestrator.aggregate import aggregate
from orchestrator.records import Results, load_plans, load_records, write_atomic
from orchestrator.report.export import csv_text, markdown
from orchestrator.report.page import html_text

__all__ = ["build_report"]


def build_report(results: Path) -> list[Path]:
    """Write leaderboard.html, .md and .csv into `results` and return their paths.

    Raises FileNotFoundError if there is no such folder, ValueError if it holds neither plans nor records.
    """
    root = Path(results)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder of results")
    folder = Results(root)
    plans, loaded = load_plans(folder), load_records(folder)
    if not plans and not loaded.records:
        damaged = f" ({len(loaded.unreadable)} unreadable)" if loaded.unreadable else ""
        raise ValueError(
            f"{root}: no plans and no records{damaged}, so nothing to report; "
            "give the folder that `python -m orchestrator run` wrote, the one with trials/ in it"
        )
    board = aggregate(plans, loaded)
    written = []
    for name, text in (("html", html_text(board)), ("md", markdown(board)), ("csv", csv_text(board))):
        path = root / f"leaderboard.{name}"
        write_atomic(path, text)
        written.append(path)
    return written
