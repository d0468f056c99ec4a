"""The header strip of the page: what was run, on which data, how weights were chosen, and what the numbers mean."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.analysis.aggregate import Board
from orchestrator.analysis.costs import gpu_hours
from orchestrator.records import TrialRecord
from orchestrator.report.export import count, warnings
from orchestrator.report.numbers import amount
from orchestrator.selection import describe


@dataclass(frozen=True)
class Fact:
    """One entry of the header strip."""

    name: str
    value: str
    detail: str = ""
    bad: bool = False


def facts(board: Board) -> Iterator[Fact]:
    """The entries, in reading order."""
    records = {o.record.id: o.record for o in board.outcomes if o.record is not None}
    yield _cells(board)
    rules = sorted({o.trial.spec.selection for o in board.outcomes if o.trial.spec.selection is not None})
    for rule in rules:
        text, optimistic = describe(rule)
        warning = "; selects on the split that is reported" if optimistic else ""
        yield Fact("Weights chosen by", rule, text + warning, optimistic)
    if board.rule == "oracle":
        yield Fact(
            "Rows chosen by", "oracle", "selected on the reported split: optimistic, a bound and no result", bad=True
        )
    yield Fact("a ± b", "mean ± s.d. over seeds", "ddof = 1; differences are paired by seed; n = 1 has no s.d.")
    yield from _intervals(board)
    yield from _data(board, list(records.values()))
    yield from _gate(board)
    if differing := list(warnings(board)):
        detail = "zero-shot accuracies differ from published ones, see below"
        yield Fact("Check before use", count(len(differing), "warning"), detail, bad=True)
    yield from _provenance(list(records.values()))


def _cells(board: Board) -> Fact:
    """How much of the grid is there."""
    tally = Counter(o.status for o in board.outcomes)
    holes = ", ".join(f"{tally[status]} {status}" for status in ("failed", "missing", "stale"))
    if tally["stale"]:
        holes += ": recorded before code, data or settings changed"
    if finished := [o.record.finished_at for o in board.outcomes if o.record is not None]:
        holes += f"; newest record {max(finished)[:16].replace('T', ' ')} UTC"
    return Fact(
        "Cells done", f"{tally['done']} of {len(board.outcomes)}", holes, bad=tally["done"] < len(board.outcomes)
    )


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
        end = f"sha256:{identity[:16]}"
        lines = [line for line in attested if line.endswith(end)]
        # '<name> <revision>: <counts>, sha256:<content>', so nothing of it is said twice.
        named = [line.partition(": ") for line in lines if line.startswith(f"{dataset} ")]
        title = named[0][0] if named else dataset
        yield Fact(kind, title, "; ".join(rest for *_, rest in named) or f"{end}; no finished trial attests more")


def _provenance(records: list[TrialRecord]) -> Iterator[Fact]:
    if not records:
        return
    environments = [r.environment for r in records if r.environment is not None]
    commits = Counter((e.git_commit or "unknown")[:12] + (" + changes" if e.git_dirty else "") for e in environments)
    changed = any(e.git_dirty or not e.git_commit for e in environments) or len(commits) > 1
    versions = "" if len(commits) < 2 else f"records of {len(commits)} versions of the code"
    yield Fact("Code", ", ".join(sorted(commits)) or "unknown", versions or "git commit of every record", changed)
    train = sum(r.seconds.get("train", 0.0) for r in records)
    devices = ", ".join(sorted({e.device for e in environments})) or "device unknown"
    total = duration(sum(sum(r.seconds.values()) for r in records))
    spent = [of for of in map(gpu_hours, records) if of is not None]
    hours = amount(math.fsum(spent)) if spent else "none"
    yield Fact("GPU-hours", hours, f"{duration(train)} of training, {total} with loading and evaluation; {devices}")


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
