"""What a reader can ask of a row: recipe, settings, seeds, environment, time, failures, classes, and how to run it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.analysis.aggregate import Table
from orchestrator.analysis.costs import gpu_hours, images_encoded, images_per_second, passes_per_image, texts_seen
from orchestrator.analysis.grid import Outcome
from orchestrator.analysis.intervals import ClassChange
from orchestrator.analysis.rows import Row
from orchestrator.records import Environment, TrialRecord
from orchestrator.report.log_tail import LogTail
from orchestrator.report.numbers import amount, points
from orchestrator.report.tables import Column, columns
from orchestrator.report.trend import statistics
from orchestrator.spec import BenchmarkPlan

TRACEBACK_LINES = 4
"""Last lines of a failure's traceback that are shown."""


@dataclass(frozen=True, slots=True)
class Seed:
    """One trial of a row."""

    seed: int
    status: str
    seconds: str
    """'train 29.7, evaluate 3.9'"""
    images: str
    """what training cost: '9,600 seen, 19,200 encoded, 96,000 texts; 323 images/s, 0.02 GPU-h'; '' where nothing is recorded"""
    memory: str
    step: int | None
    attempts: int
    reason: str
    traceback: str
    log: tuple[str, ...]
    """last lines of its log"""
    id: str


@dataclass(frozen=True, slots=True)
class Detail:
    """Everything about one row."""

    name: str
    facts: tuple[tuple[str, str], ...]
    """(what, value)"""
    seeds: tuple[Seed, ...]
    """trials with a record; those that were not run are listed at the end of the page"""
    classes: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]
    """(which domains, classes that gain, classes that lose)"""
    command: str
    """runs its trials again; '' where the manifest is unknown"""


def details(table: Table, plan: BenchmarkPlan, log_tail: LogTail) -> list[Detail]:
    """Of every row of a table."""
    shown = columns(table)
    return [_detail(table, plan, index, shown, log_tail) for index in range(len(table.rows))]


def _detail(table: Table, plan: BenchmarkPlan, index: int, shown: Sequence[Column], log_tail: LogTail) -> Detail:
    row = table.rows[index]
    return Detail(
        name=row.name,
        facts=(*_facts(row), *_aside(shown, index)),
        seeds=tuple(_seed(o, log_tail) for o in row.outcomes if o.record is not None),
        classes=tuple(_classes(table, plan, index)),
        command=_command(row, plan),
    )


def _aside(shown: Sequence[Column], index: int) -> Iterator[tuple[str, str]]:
    """Intervals that have no room in the table, where they appear under a pointer alone."""
    cells = ((column.full_title, column.cell(index)) for column in shown)
    if found := [f"{title} {cell.text} {cell.interval}" for title, cell in cells if cell.aside and cell.interval]:
        yield "95 % intervals", "; ".join(found)


def _facts(row: Row) -> Iterator[tuple[str, str]]:
    if not row.outcomes:
        return
    spec = row.outcomes[0].trial.spec
    yield "method", f"{spec.method}, version {spec.method_version}"
    if spec.settings:
        yield "settings", _pairs(spec.settings)
    if spec.recipe is not None:
        yield "recipe", _pairs(spec.recipe.model_dump(mode="json"))
    yield "model", f"{spec.model.name}, {spec.model.weights[:19]}"
    selection = f", weights by {spec.selection}" if spec.selection else ""
    yield "preprocessing", f"{spec.preprocessing}{selection}"
    if spec.inputs:
        yield "made from", ", ".join(dict.fromkeys(id for o in row.outcomes for id in o.trial.spec.inputs))
    environments = dict.fromkeys(
        _environment(o.record.environment) for o in row.outcomes if o.record is not None and o.record.environment
    )
    for environment in environments:
        yield "environment", environment


def _pairs(values: dict[str, object]) -> str:
    return ", ".join(f"{key}={json.dumps(value)}" for key, value in values.items() if value is not None)


def _environment(environment: Environment) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in environment.packages.items())
    commit = (environment.git_commit or "unknown")[:12] + (" with changes" if environment.git_dirty else "")
    hands = f"{environment.num_workers} worker(s) of {environment.num_threads} thread(s)"
    return f"{environment.device}, {hands}, commit {commit}, Python {environment.python}, {packages}, {environment.platform}"


def _seed(o: Outcome, log_tail: LogTail) -> Seed:
    record = o.record
    memory = record.peak_memory_bytes if record else None
    traceback = record.error.traceback.strip().splitlines() if record and record.error else []
    return Seed(
        seed=o.trial.spec.seed,
        status=o.status,
        seconds=", ".join(f"{stage} {amount(s)}" for stage, s in record.seconds.items()) if record else "",
        images=_passes(record) if record else "",
        memory=f"{memory / 2**30:.2f} GiB" if memory else "",
        step=record.selected_step if record else None,
        attempts=record.num_attempts if record else 0,
        reason=o.reason,
        traceback="\n".join(traceback[-TRACEBACK_LINES:]),
        log=log_tail(o.trial.id),
        id=o.trial.id,
    )


def _passes(record: TrialRecord) -> str:
    """Forward passes of training and what they took; early records do not say all of it."""
    encoded, texts, passes = images_encoded(record), texts_seen(record), passes_per_image(record)
    rate, hours = images_per_second(record), gpu_hours(record)
    each = f" ({amount(passes)} passes an image)" if passes is not None else ""
    parts = (
        f"{record.images_seen:,} images seen" if record.images_seen else "",
        f"{encoded:,} encoded{each}" if encoded is not None else "",
        f"{texts:,} texts" if texts is not None else "",
        f"{amount(rate)} images/s" if rate is not None else "",
        f"{amount(hours)} GPU-h" if hours is not None else "",
    )
    return ", ".join(filter(None, parts))


def _classes(table: Table, plan: BenchmarkPlan, index: int) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    names = {"reference": table.over, "shift": "held-out domains" if table.leave_one_out else "shifted domains"}
    for part, changes in statistics(table, index).classes.items():
        yield names[part], _lines(changes.gains, plan), _lines(changes.losses, plan)


def _lines(changes: Sequence[ClassChange], plan: BenchmarkPlan) -> tuple[str, ...]:
    known = plan.classnames
    return tuple(
        f"{known[c.label] if c.label < len(known) else f'class {c.label}'} {points(c.difference)} ({c.num_images:,} images)"
        for c in changes
    )


def _command(row: Row, plan: BenchmarkPlan) -> str:
    if not plan.manifest:
        return ""
    ids = dict.fromkeys(o.trial.id for o in row.outcomes)
    return run_command([plan], *(word for id in ids for word in ("--again", id)))


def run_command(plans: Sequence[BenchmarkPlan], *options: str) -> str:
    """`run` of benchmarks whose `run_words` are the same, as one line for a shell."""
    manifest, *folders = run_words(plans[0])
    names = [plan.benchmark for plan in plans]
    return shlex.join(["python", "-m", "orchestrator", "run", manifest, *names, *folders, *options])


def run_words(plan: BenchmarkPlan) -> tuple[str, ...]:
    """Manifest and folders as `run` was given them; of a plan that does not have them the manifest's name.

    Never the absolute path of the manifest, which says where things lay on somebody's machine.
    """
    return plan.given or (Path(plan.manifest).name,)
