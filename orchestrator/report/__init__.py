"""Builds the leaderboard from a folder of results: a page, Markdown and CSV. Needs neither ray nor torch nor a network."""

from __future__ import annotations

from pathlib import Path

from orchestrator.analysis.aggregate import Board, aggregate
from orchestrator.analysis.board_statistics import with_statistics
from orchestrator.analysis.choice import Rule, page_stem, restrict
from orchestrator.analysis.metrics import NUM_BINS
from orchestrator.analysis.rebinning import rebinned
from orchestrator.records import Results, ResultsError, load_plans, load_records, write_atomic
from orchestrator.report.collection import without_collection
from orchestrator.report.export import csv_text, markdown, rows_csv_text
from orchestrator.report.log_tail import log_tail
from orchestrator.report.page import html_text

__all__ = ["build_report", "read_board"]


@without_collection()
def build_report(results: Path, rule: Rule | None = None, ece_bins: int = NUM_BINS) -> list[Path]:
    """Write leaderboard.html, .md, .csv and leaderboard-rows.csv into `results` and return their paths.

    With a `rule` only of the trials whose weights it chose (`orchestrator.analysis.choice`), as leaderboard.<rule>.html
    and so on. With other `ece_bins` than the records have calibration errors are computed again
    (`orchestrator.analysis.rebinning`); the files say how many they are of.

    Raises as `read_board` does.
    """
    root, board = Path(results), read_board(results, rule, ece_bins)
    written = []
    for name, text in (
        (".html", html_text(board, log_tail(Results(root)))),
        (".md", markdown(board)),
        (".csv", csv_text(board)),
        ("-rows.csv", rows_csv_text(board)),
    ):
        path = root / f"{page_stem(rule)}{name}"
        write_atomic(path, text)
        written.append(path)
    return written


def read_board(results: Path, rule: Rule | None = None, ece_bins: int = NUM_BINS) -> Board:
    """What the page shows. Intervals come from the per-image outcomes of the trials and are kept in
    `results`/cache/statistics.

    Raises FileNotFoundError if there is no such folder, ResultsError if it holds neither plans nor records, or none of the
    rule, ValueError for a number of bins out of range.
    """
    root = Path(results)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder of results")
    folder = Results(root)
    plans, loaded = load_plans(folder), load_records(folder)
    if not plans and not loaded.records:
        damaged = f" ({len(loaded.unreadable)} unreadable)" if loaded.unreadable else ""
        raise ResultsError(
            f"{root}: no plans and no records{damaged}, so nothing to report; "
            "give the folder that `python -m orchestrator run` wrote, the one with trials/ in it"
        )
    if rule is not None:
        plans, loaded = restrict(plans, loaded, rule)
    return with_statistics(folder, aggregate(plans, rebinned(folder, loaded, ece_bins), rule, ece_bins))
