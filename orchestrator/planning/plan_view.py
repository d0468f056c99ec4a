"""Plans, estimates and statuses as tables and lines for a terminal or a log."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType

from rich.console import Console
from rich.table import Table
from rich.text import Text

from datasets.wording import number_of
from orchestrator.planning.estimate import Estimate, estimate
from orchestrator.planning.plan import Status
from orchestrator.planning.stale import Stale, tally
from orchestrator.planning.unprepared import Unprepared
from orchestrator.records import Results, read_record
from orchestrator.spec import BenchmarkPlan, PlannedTrial

_STYLES: dict[Status, str] = {"done": "green", "stale": "magenta", "missing": "yellow", "failed": "red"}


def make_console(stderr: bool = False) -> Console:
    """A console that keeps tables readable where there is no terminal to fit them to."""
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, 160)
    return console


def say(console: Console, line: str) -> None:
    """Print a line as it is: no markup, no wrapping."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def counted(ids: Sequence[str], status: Mapping[str, Status], waiting: Collection[str] = ()) -> str:
    """`13 trials: 3 done, 10 to run`, failed ones named when there are any; stale ones stand apart.

    `waiting`: ids that need a stale one, so that they are to run but not now.
    """
    unique = list(dict.fromkeys(ids))
    counts = Counter(status[id] for id in unique)
    waits = sum(id in waiting for id in unique)
    words = {"failed before": counts["failed"], "waiting for stale ones": waits}
    parts = [f"{number} of them {text}" for text, number in words.items() if number]
    remarks = f" ({', '.join(parts)})" if parts else ""
    stale = f", {counts['stale']} stale (recorded before something changed)" if counts["stale"] else ""
    to_run = len(unique) - counts["done"] - counts["stale"]
    return f"{number_of(len(unique), 'trial')}: {counts['done']} done, {to_run} to run{remarks}{stale}"


def print_plan(
    console: Console,
    plan: BenchmarkPlan,
    status: Mapping[str, Status],
    counts: Mapping[str, Mapping[str, int]],
    list_trials: bool,
    stale: Mapping[str, Stale] = MappingProxyType({}),
    waiting: Collection[str] = (),
) -> None:
    """A table with a row for each method, model and source, then sizes and, if asked for, every trial.

    `waiting`: ids that need a stale trial; `run` leaves them with it.
    """
    say(console, f"{plan.benchmark}: {plan.dataset_title}, domains {', '.join(plan.domains)}{_protocol(plan)}")
    if plan.description:
        say(console, f"  {plan.description}")
    console.print(_table(plan, status))
    say(console, f"  {counted([t.id for t in plan.trials], status, waiting)}")
    if former := [stale[t.id] for t in plan.trials if status[t.id] == "stale"]:
        say(console, f"  stale, by the first thing that changed: {tally(former)}; `run --rerun-stale` runs them")
    every = _sum(estimate(t, counts) for t in plan.trials)
    runs = [t for t in plan.trials if status[t.id] not in ("done", "stale") and t.id not in waiting]
    left = _sum(estimate(t, counts) for t in runs)
    say(console, f"  all trials: {_sizes(every)}")
    say(console, f"  to run:     {_sizes(left)}")
    if list_trials:
        for trial in plan.trials:
            builds = f"  <- {', '.join(trial.spec.inputs)}" if trial.spec.inputs else ""
            why = f"  {stale[trial.id].reason}" if status[trial.id] == "stale" else ""
            say(console, f"  {status[trial.id]:<8}{trial.id}{builds}{why}")
    say(console, "")


def _table(plan: BenchmarkPlan, status: Mapping[str, Status]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2), header_style="bold")
    for name in ("  method", "builds on", "model", "source", "seeds"):
        table.add_column(name, overflow="fold")
    shown = [s for s in _STYLES if s != "stale" or any(status[t.id] == "stale" for t in plan.trials)]
    for name in ("trials", *shown):
        table.add_column(name, justify="right")
    for (label, of, model, source), trials in _rows(plan):
        by = {s: [t for t in trials if status[t.id] == s] for s in shown}
        seeds = "-" if trials[0].kind == "reference" else _spans(sorted({t.spec.seed for t in trials}))
        if trials[0].kind == "post_hoc" and len(trials[0].spec.inputs) > 1:
            seeds = f"{len(trials[0].spec.inputs)} together"
        cells = [f"  {label}", of or "-", model, source, seeds, str(len(trials))]
        numbers = [Text(str(len(by[s])) if by[s] else "-", _STYLES[s] if by[s] else "dim") for s in shown]
        table.add_row(*map(Text, cells), *numbers)
    return table


def _rows(plan: BenchmarkPlan) -> Iterator[tuple[tuple[str, str | None, str, str], list[PlannedTrial]]]:
    groups: dict[tuple[str, str | None, str, str], list[PlannedTrial]] = {}
    for trial in plan.trials:
        source = _source(plan, trial)
        groups.setdefault((trial.label, trial.of, trial.model, source), []).append(trial)
    yield from groups.items()


def _source(plan: BenchmarkPlan, trial: PlannedTrial) -> str:
    """`real`, `real+sketch`, or `all but sketch` where each domain is held out in turn; `-` for what does not train."""
    data = trial.spec.data
    held_out = [domain for domain in data.targets if domain not in data.sources]
    return f"all but {', '.join(held_out)}" if plan.leave_one_out and data.sources else "+".join(data.sources) or "-"


def _protocol(plan: BenchmarkPlan) -> str:
    """How the domains are used, if it is not as usual."""
    pooled = [trial.spec.data for trial in plan.trials if trial.spec.data.target_split == "in"]
    split = (
        f"; all images of a domain are one pool, {pooled[0].val_fraction:.0%} of it held out by seed" if pooled else ""
    )
    return ("; each held out in turn" if plan.leave_one_out else "") + split


def _spans(numbers: Sequence[int]) -> str:
    """`0-2, 5` for 0, 1, 2, 5."""
    spans = []
    for _, group in itertools.groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        values = [number for _, number in group]
        spans.append(str(values[0]) if len(values) == 1 else f"{values[0]}-{values[-1]}")
    return ", ".join(spans)


def _sizes(total: Estimate) -> str:
    return (
        f"{total.num_steps:,} steps, {total.training_images:,} training images, "
        f"{total.evaluation_images:,} evaluation images"
    )


def _sum(estimates: Iterator[Estimate]) -> Estimate:
    return sum(estimates, Estimate())


def print_unprepared(console: Console, missing: Sequence[Unprepared]) -> None:
    """What is not on this machine and what to do about it."""
    for item in missing:
        say(console, f"unprepared: {item.what}; {'`run` makes it' if item.generated else item.todo}")


def print_status(
    console: Console,
    plan: BenchmarkPlan,
    status: Mapping[str, Status],
    results: Results,
    stale: Mapping[str, Stale],
) -> None:
    """Counts of a benchmark, each stale trial with what changed, each failed one with its reason and its log."""
    counts = Counter(status[trial.id] for trial in plan.trials)
    kinds: tuple[Status, ...] = ("done", "failed", *(("stale",) if counts["stale"] else ()), "missing")
    words = ", ".join(f"{counts[s]} {s}" for s in kinds)
    say(console, f"{plan.benchmark}: {number_of(len(plan.trials), 'trial')}: {words}")
    for trial in plan.trials:
        if status[trial.id] == "stale":
            say(console, f"  {trial.id}: {stale[trial.id].reason}")
        if status[trial.id] != "failed":
            continue
        error = read_record(results.record(trial.id)).error
        reason = (
            f"{error.failure_class}: {error.type}: {' '.join(error.message.split())}" if error else "no reason given"
        )
        say(console, f"  failed {trial.id}: {reason}")
        say(console, f"         log: {results.trial(trial.id) / 'log.txt'}")
