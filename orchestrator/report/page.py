"""The board as one offline HTML file: tables that sort without scripts of ours, plotly figures, no outside request.

Everything the page needs is inside it. A content security policy allows the scripts written here, by their hash,
and no connection; names from the manifest reach the page only through jinja's escaping.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import itables.options
from markupsafe import Markup

from orchestrator.analysis.aggregate import Board, Table
from orchestrator.analysis.choice import page_stem, rule_text
from orchestrator.analysis.grid import Outcome
from orchestrator.analysis.metrics import NUM_BINS
from orchestrator.report.export import count, heading, unplanned, warnings
from orchestrator.report.header import facts
from orchestrator.report.headline import captions, headline
from orchestrator.report.inspector import Detail, details, run_command, run_words
from orchestrator.report.log_tail import LogTail, no_log
from orchestrator.report.offline import TEMPLATES, deflated, environment, policy, rounded, scripts
from orchestrator.report.order import shown_order
from orchestrator.report.paged import MOST_PLAIN, kinds, paged_rows
from orchestrator.report.panels import maps, panels
from orchestrator.report.remarks import incomplete, no_baseline, no_intervals, not_drawn
from orchestrator.report.tables import STRICTER, columns, seeds
from orchestrator.report.trend import trend
from orchestrator.spec import BenchmarkPlan

SCRIPTS = (
    *("data.js", "theme.js", "state.js", "legend.js", "charts.js"),
    *("rows.js", "copy.js", "inspector.js", "tables.js"),
)
"""In the order in which they need each other."""
SHOWN_OUTCOMES = 200
"""Trials without a result that the page lists; all are in the CSV."""
HOLES = ("failed", "stale", "missing")
"""Why there is none, in the order of that list."""


def html_text(board: Board, log_tail: LogTail = no_log) -> str:
    """The page. The same records give the same bytes: its date is that of the newest record."""
    embedded_scripts = scripts(TEMPLATES / name for name in SCRIPTS)
    return (
        environment(TEMPLATES)
        .get_template("page.html.j2")
        .render(
            title=_title(board),
            stem=page_stem(board.rule),
            stricter=STRICTER,
            policy=policy(embedded_scripts, "blob:"),
            scripts=embedded_scripts,
            tables_script=deflated(_tables_bundle(".js")),
            styles=Markup(_styles()),  # noqa: S704 - files of itables and ours
            facts=list(facts(board)),
            sections=[_section(board, index, log_tail) for index in range(len(board.plans))],
            notes=list(_notes(board)),
            warnings=list(warnings(board)),
            trouble=_trouble(board),
            num_trouble=sum(o.status != "done" for o in board.outcomes),
            unplanned=len(board.unplanned),
            unreadable=dict(board.unreadable),
            commands=list(_commands(board)),
            inferred=board.inferred,
            ece_bins=board.ece_bins,
            transfer=any(table.transfer for table in board.tables),
            leave_one_out=any(table.leave_one_out for table in board.tables),
            pooled=any(table.reference_split == "val" for table in board.tables),
            fitted=any(trend(table).line for table in board.tables),
            intervals=any(table.statistics and table.statistics.has_intervals for table in board.tables),
            seen_unseen=any(row.by_class for table in board.tables for row in table.rows),
        )
    )


def _tables_bundle(suffix: str) -> bytes:
    """DataTables as the itables wheel ships it."""
    return Path(itables.options.dt_bundle).with_suffix(suffix).read_bytes()


def _styles() -> str:
    return _tables_bundle(".css").decode() + (TEMPLATES / "style.css").read_text(encoding="utf-8")


def _title(board: Board) -> str:
    names = ", ".join(plan.benchmark for plan in board.plans[:3])
    return f"Leaderboard: {names}" + (", ..." if len(board.plans) > 3 else "")


def _section(board: Board, index: int, log_tail: LogTail) -> dict[str, Any]:
    plan = board.plans[index]
    tables = [(number, t) for number, t in enumerate(board.tables) if t.benchmark == plan.benchmark]
    return {
        "id": f"benchmark-{index}",
        "benchmark": plan.benchmark,
        "dataset": plan.dataset_title,
        "description": plan.description,
        "tables": [_table(plan, number, table, log_tail, page_stem(board.rule)) for number, table in tables],
        "maps": _shown(maps([table for _, table in tables])),
    }


def _data(detail: Detail) -> dict[str, Any]:
    """As JSON; `dataclasses.asdict` would copy every string's tuple of thousands of rows."""
    found = {field.name: getattr(detail, field.name) for field in fields(detail)}
    return found | {"seeds": [{f.name: getattr(seed, f.name) for f in fields(seed)} for seed in detail.seeds]}


def _shown(figures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Figures as the page has them."""
    return [{**figure, "shown": rounded(figure["json"])} for figure in figures]


def _table(plan: BenchmarkPlan, number: int, table: Table, log_tail: LogTail, stem: str) -> dict[str, Any]:
    shown, long, order = columns(table), len(table.rows) > MOST_PLAIN, shown_order(table)
    detailed = [_data(detail) for detail in details(table, plan, log_tail)]
    groups: list[list[Any]] = []
    for column in shown:
        if groups and groups[-1][0] == column.group:
            groups[-1][1] += 1
        else:
            groups.append([column.group, 1])
    return {
        "id": f"table-{number}",
        "heading": heading(table),
        "model": table.model,
        "sources": table.sources,
        "leave_one_out": table.leave_one_out,
        "summary": headline(table),
        "caption": " ".join(captions(table)),
        "groups": groups,
        "columns": shown,
        "first_of_group": [i == 0 or shown[i - 1].group != column.group for i, column in enumerate(shown)],
        "rows": [
            {
                "row": table.rows[index],
                "kinds": kinds(table.rows[index]),
                "seeds": seeds(table.rows[index]),
                "cells": [c.cell(index) for c in shown],
            }
            for index in (() if long else order)
        ],
        "paged": paged_rows(table, shown) if long else None,
        "incomplete": list(incomplete(table)),
        "no_baseline": no_baseline(table),
        "no_intervals": list(no_intervals(table)),
        "not_drawn": list(not_drawn(table)),
        "details": [detailed[index] for index in order] if detailed else [],
        "num_rows": len(table.rows),
        "figures": _shown(panels(table, stem)),
    }


def _notes(board: Board) -> Iterator[str]:
    if board.rule:
        yield f"Shown: {rule_text(board.rule)}."
    if board.inferred:
        yield (
            "There is no plan in this folder, so the grid is inferred from the records: a trial that left no record "
            "cannot be shown as missing."
        )
    for line in unplanned(board):
        yield f"{line}, not shown."
    if board.unreadable:
        yield f"{count(len(board.unreadable), 'record file')} cannot be read, listed below."


def _trouble(board: Board) -> list[dict[str, Any]]:
    """Trials without a result; failed ones first, then stale ones."""
    holes = sorted((o for o in board.outcomes if o.status != "done"), key=lambda o: HOLES.index(o.status))
    return [_hole(o) for o in holes[:SHOWN_OUTCOMES]]


def _hole(o: Outcome) -> dict[str, Any]:
    trial = o.trial
    return {
        "status": o.status,
        "name": trial.label + (f" of {trial.of}" if trial.of else ""),
        "where": ", ".join([trial.benchmark, trial.model, " + ".join(trial.spec.data.sources) or "no source"]),
        "seed": trial.spec.seed,
        "reason": o.reason,
        "attempts": o.record.num_attempts if o.record else 0,
        "id": trial.id,
    }


def _commands(board: Board) -> Iterator[tuple[str, str]]:
    """What makes the page again: from nothing, and from the records."""
    if not board.inferred:
        by_words = defaultdict[tuple[str, ...], list[BenchmarkPlan]](list)
        for plan in board.plans:
            by_words[run_words(plan)].append(plan)
        for words in sorted(by_words):
            yield "Run what is missing", run_command(by_words[words])
            stale = {o.trial.benchmark for o in board.outcomes if o.status == "stale"}
            if former := [plan for plan in by_words[words] if plan.benchmark in stale]:
                yield "Run what is stale too", run_command(former, "--rerun-stale")
    rule = ["--selection", board.rule] if board.rule else []
    bins = ["--ece-bins", str(board.ece_bins)] if board.ece_bins != NUM_BINS else []
    yield (
        "Make this page from the records",
        shlex.join(["python", "-m", "orchestrator", "report", "RESULTS", *rule, *bins]),
    )
