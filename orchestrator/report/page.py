"""The board as one offline HTML file: tables that sort without scripts of ours, plotly figures, no outside request.

Everything the page needs is inside it. A content security policy allows the three scripts written here, by their hash,
and no connection; names from the manifest reach the page only through jinja's escaping.
"""

from __future__ import annotations

import hashlib
import math
import shlex
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import itables.options
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from orchestrator.aggregate import Board, Table
from orchestrator.choice import rule_text
from orchestrator.grid import Outcome
from orchestrator.records import TrialRecord
from orchestrator.report.export import count, heading, warnings
from orchestrator.report.inspector import MOST_INSPECTED, details
from orchestrator.report.log_tail import LogTail, no_log
from orchestrator.report.panels import maps, panels
from orchestrator.report.tables import (
    amount,
    columns,
    incomplete,
    mean_sd,
    no_baseline,
    no_intervals,
    not_drawn,
    percent,
    points,
    seeds,
)
from orchestrator.rows import gpu_hours
from orchestrator.selection import describe
from orchestrator.spec import BenchmarkPlan

HERE = Path(__file__).parent / "templates"
SHOWN_OUTCOMES = 200
"""Trials without a result that the page lists; all are in the CSV."""


def html_text(board: Board, log_tail: LogTail = no_log) -> str:
    """The page. The same records give the same bytes: its date is that of the newest record."""
    scripts = [_script(get_plotlyjs()), _script((HERE / "page.js").read_text(encoding="utf-8"))]
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "separators": (",", ":")}
    return environment.get_template("page.html.j2").render(
        title=_title(board),
        policy=_policy(scripts),
        scripts=[Markup(text) for text in scripts],  # noqa: S704 - files of plotly and ours, nothing from the manifest
        tables_script=b64encode(_tables_bundle(".js")).decode(),
        styles=Markup(_styles()),  # noqa: S704 - files of itables and ours
        facts=list(_facts(board)),
        sections=[_section(board, index, log_tail) for index in range(len(board.plans))],
        notes=list(_notes(board)),
        warnings=list(warnings(board)),
        trouble=_trouble(board),
        num_trouble=sum(o.status != "done" for o in board.outcomes),
        unplanned=len(board.unplanned),
        unreadable=dict(board.unreadable),
        commands=list(_commands(board)),
        inferred=board.inferred,
        transfer=any(table.transfer for table in board.tables),
        leave_one_out=any(table.leave_one_out for table in board.tables),
        pooled=any(table.reference_split == "val" for table in board.tables),
        intervals=any(table.statistics and table.statistics.has_intervals for table in board.tables),
        most_inspected=MOST_INSPECTED,
        seen_unseen=any(row.by_class for table in board.tables for row in table.rows),
    )


def _script(text: str) -> str:
    # Browsers hash what the parser leaves, which has no carriage returns.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "</script" in text.lower():
        raise ValueError("a script to embed contains '</script'")
    return text


def _policy(scripts: list[str]) -> str:
    """Content security policy: the given inline scripts and what they make from data on the page, nothing from outside."""
    hashes = " ".join(f"'sha256-{b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return (
        f"default-src 'none'; script-src {hashes} blob:; style-src 'unsafe-inline'; img-src data: blob:; "
        "font-src data:; connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


def _tables_bundle(suffix: str) -> bytes:
    """DataTables as the itables wheel ships it."""
    return Path(itables.options.dt_bundle).with_suffix(suffix).read_bytes()


def _styles() -> str:
    return _tables_bundle(".css").decode() + (HERE / "style.css").read_text(encoding="utf-8")


def _title(board: Board) -> str:
    names = ", ".join(plan.benchmark for plan in board.plans[:3])
    return f"Leaderboard: {names}" + (", ..." if len(board.plans) > 3 else "")


@dataclass(frozen=True)
class Fact:
    """One entry of the header strip."""

    name: str
    value: str
    detail: str = ""
    bad: bool = False


def _facts(board: Board) -> Iterator[Fact]:
    tally = Counter(o.status for o in board.outcomes)
    records = {o.record.id: o.record for o in board.outcomes if o.record is not None}
    holes = ", ".join(f"{tally[status]} {status}" for status in ("failed", "missing") if tally[status])
    if stale := sum(o.stale is not None for o in board.outcomes):
        holes += f" ({stale} of them stale: recorded before code, data or settings changed)"
    yield Fact(
        "Trials done", f"{tally['done']} of {len(board.outcomes)}", holes or "none failed, none missing", bool(holes)
    )
    rules = sorted({o.trial.spec.selection for o in board.outcomes if o.trial.spec.selection is not None})
    for rule in rules:
        text, optimistic = describe(rule)
        warning = "; selects on the split that is reported" if optimistic else ""
        yield Fact("Weights chosen by", rule, text + warning, optimistic)
    yield Fact("a ± b", "mean ± s.d. over seeds", "ddof = 1; differences are paired by seed; n = 1 has no s.d.")
    yield from _intervals(board)
    yield from _data(board, list(records.values()))
    yield from _gate(board)
    if differing := list(warnings(board)):
        detail = "zero-shot accuracies differ from published ones, see below"
        yield Fact("Check before use", count(len(differing), "warning"), detail, bad=True)
    yield from _provenance(list(records.values()))


def _gate(board: Board) -> Iterator[Fact]:
    """How zero-shot accuracies compare with published ones of the same protocol."""
    gates = {o.trial.id: o for o in board.outcomes if o.trial.expected}
    values = sum(len(o.trial.expected) for o in gates.values())
    over = [o for o in gates.values() if o.record is not None and o.status == "done"]
    if not gates:
        yield Fact("Zero-shot gate", "no value", "no published accuracy under this protocol to compare with")
    elif any(o.record is not None and o.record.warnings for o in over):
        yield Fact("Zero-shot gate", "not passed", "differs from published accuracies, see below", bad=True)
    elif len(over) < len(gates):
        yield Fact("Zero-shot gate", "open", f"{len(gates) - len(over)} of {len(gates)} trials are not done", bad=True)
    else:
        yield Fact(
            "Zero-shot gate",
            "passed",
            f"within 0.3 points of {values} published accurac{'y' if values == 1 else 'ies'}",
        )


def _intervals(board: Board) -> Iterator[Fact]:
    several = [table for table in board.tables if table.statistics is not None]
    missing = [row for t in several if t.statistics for row in t.statistics.rows if row.why]
    if any(t.statistics and t.statistics.has_intervals for t in several):
        detail = "over seeds and images, paired; bold: no row is surely better, all pairs, Holm, 5 %"
        holes = f"; {count(len(missing), 'row')} without, see below the table" if missing else ""
        yield Fact("[low, high]", "95 % interval", detail + holes)
    elif several:
        yield Fact("[low, high]", "no intervals", "no per-image outcomes that can be paired")


def _data(board: Board, records: list[TrialRecord]) -> Iterator[Fact]:
    """The content of each dataset, with what the trials that read it attest."""
    read = [o.trial.spec.data for o in board.outcomes]
    used = {("Data", data.name, data.identity) for data in read}
    used |= {("Data not trained on", ref.name, ref.identity) for data in read for ref in data.transfer}
    attested = dict.fromkeys(line for record in records for line in record.data.splitlines())
    for kind, dataset, identity in sorted(used):
        lines = [line for line in attested if line.endswith(f"sha256:{identity[:16]}")]
        yield Fact(kind, dataset, "; ".join([f"content {identity[:12]}", *lines]))


def _provenance(records: list[TrialRecord]) -> Iterator[Fact]:
    if not records:
        return
    environments = [r.environment for r in records if r.environment is not None]
    commits = Counter((e.git_commit or "unknown")[:12] + ("+changes" if e.git_dirty else "") for e in environments)
    changed = any(e.git_dirty or not e.git_commit for e in environments) or len(commits) > 1
    versions = "" if len(commits) < 2 else f"records of {len(commits)} versions of the code"
    yield Fact("Code", ", ".join(sorted(commits)) or "unknown", versions or "git commit of every record", changed)
    train = sum(r.seconds.get("train", 0.0) for r in records)
    devices = ", ".join(sorted({e.device for e in environments})) or "device unknown"
    total = duration(sum(sum(r.seconds.values()) for r in records))
    spent = [of for of in map(gpu_hours, records) if of is not None]
    hours = f"{amount(math.fsum(spent))} GPU-hours; " if spent else ""
    yield Fact("Training time", duration(train), f"{hours}{total} with loading and evaluation; {devices}")
    newest = max(r.finished_at for r in records)
    yield Fact("Made from", count(len(records), "record"), f"newest {newest[:16].replace('T', ' ')} UTC")


def duration(seconds: float) -> str:
    """Wall seconds for people: '48 s', '12 min 30 s', '3 h 20 min'."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min"


def _section(board: Board, index: int, log_tail: LogTail) -> dict[str, Any]:
    plan = board.plans[index]
    tables = [(number, t) for number, t in enumerate(board.tables) if t.benchmark == plan.benchmark]
    return {
        "id": f"benchmark-{index}",
        "benchmark": plan.benchmark,
        "dataset": plan.dataset_title,
        "description": plan.description,
        "tables": [_table(board, plan, number, table, log_tail) for number, table in tables],
        "maps": maps([table for _, table in tables]),
    }


def _table(board: Board, plan: BenchmarkPlan, number: int, table: Table, log_tail: LogTail) -> dict[str, Any]:
    room = MOST_INSPECTED - sum(len(earlier.rows) for earlier in board.tables[:number])
    shown = columns(table)
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
        "summary": _summary(table),
        "groups": groups,
        "columns": shown,
        "first_of_group": [i == 0 or shown[i - 1].group != column.group for i, column in enumerate(shown)],
        "rows": [
            {"row": row, "order": index, "seeds": seeds(row), "cells": [c.cell(index) for c in shown]}
            for index, row in enumerate(table.rows)
        ],
        "incomplete": list(incomplete(table)),
        "no_baseline": no_baseline(table),
        "no_intervals": list(no_intervals(table)),
        "not_drawn": list(not_drawn(table)),
        "details": details(table, plan, max(0, room), log_tail),
        "num_rows": len(table.rows),
        "figures": panels(table),
    }


def _summary(table: Table) -> str:
    """One sentence: what plain fine-tuning did to the zero-shot model."""
    if table.baseline is None or table.zero_shot is None:
        return ""
    versus = table.to_zero_shot[table.rows.index(table.baseline)]
    if versus.reference.mean is None or versus.shift.mean is None:
        return ""
    reference, shift = (mean_sd(series, points, percent) for series in (versus.reference, versus.shift))
    kind = "held-out" if table.leave_one_out else "shifted"
    return (
        f"Against {table.zero_shot.name}, {table.baseline.name} is at {reference} points on {table.over} "
        f"and at {shift} points on the mean of the {kind} domains."
    )


def _notes(board: Board) -> Iterator[str]:
    if board.rule:
        yield f"Shown: {rule_text(board.rule)}."
    if board.inferred:
        yield (
            "There is no plan in this folder, so the grid is inferred from the records: a trial that left no record "
            "cannot be shown as missing."
        )
    if board.unplanned:
        yield f"{count(len(board.unplanned), 'record')} belong to no current plan and are not shown."
    if board.unreadable:
        yield f"{count(len(board.unreadable), 'record file')} cannot be read, listed below."


def _trouble(board: Board) -> list[dict[str, Any]]:
    """Trials without a result; failed ones first."""
    holes = sorted((o for o in board.outcomes if o.status != "done"), key=lambda o: o.status != "failed")
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
        for manifest in sorted({Path(plan.manifest).name for plan in board.plans}):
            names = [plan.benchmark for plan in board.plans if Path(plan.manifest).name == manifest]
            yield "Run what is missing", shlex.join(["python", "-m", "orchestrator", "run", manifest, *names])
    yield "Make this page from the records", "python -m orchestrator report RESULTS"
