"""What `run` does: check everything, prepare generated data, plan, sweep, report."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

import datasets
from datasets.wording import number_of
from orchestrator.bad_input import BadInputError, bad_input, unusable_results
from orchestrator.live.rebuild import Rebuilder
from orchestrator.manifest.read import Manifest, ManifestError
from orchestrator.planning import gate
from orchestrator.planning.plan import Status, make_plans, statuses
from orchestrator.planning.plan_view import counted, say
from orchestrator.planning.todo import Todo, builders, choose, named
from orchestrator.planning.unprepared import tagged_weights, unprepared
from orchestrator.prepare.dataset import prepare
from orchestrator.records import Results, load_plans, write_plan
from orchestrator.report import build_report
from orchestrator.spec import BenchmarkPlan, PlannedTrial
from orchestrator.sweeps.aside import aside
from orchestrator.sweeps.driver import SweepError, SweepRefusedError
from orchestrator.sweeps.observers import Observer
from orchestrator.sweeps.sweep import SweepOptions, run_sweep
from orchestrator.tracking.trackers import Tracking


@dataclass(frozen=True)
class Flags:
    """What the command line says about how to run; None: the manifest's `resources:` decide."""

    slots: int | None = None
    gpus_per_trial: float | None = None
    workers_per_trial: int | None = None
    cpus_per_trial: int | None = None
    retry_failed: bool = True
    report: bool = True
    strict: bool = False
    """train nothing if a zero-shot accuracy differs from a published one"""
    cache_gib: float | None = None
    rerun_stale: bool = False
    """run stale trials too"""
    again: tuple[str, ...] = ()
    """ids of trials that run, done or not; no others do but what these need"""


def run_benchmarks(manifest: Manifest, names: Sequence[str] | None, flags: Flags, console: Console) -> bool:
    """Run what is not done of these benchmarks, stale trials if asked for; whether all of it is done then.

    Raises BadInputError, before any trial is started, if data or weights are missing or an id of `--again` is not planned.
    """
    _prepare(manifest, names, console)
    results = Results(manifest.results)
    with bad_input(ManifestError):
        plans = make_plans(manifest, names)
    status = statuses(plans, results)
    todo = choose(plans, status, rerun_stale=flags.rerun_stale, again=flags.again, strict=flags.strict)
    say(console, counted(list(status), status, todo.waiting))
    _say_what_is_left(todo, plans, results, console)
    _fetch_weights(todo.runs(status))
    try:
        for plan in plans:
            write_plan(results, plan)
    except OSError as error:
        raise unusable_results(results.root, f"cannot be written: {error.strerror}") from None
    completed = _pass_gate(plans, todo, status, results, flags, console) and _sweep(
        manifest, todo, results, flags, console
    )
    _report(manifest, flags, console)
    return completed and not todo.left


def _sweep(manifest: Manifest, todo: Todo, results: Results, flags: Flags, console: Console) -> bool:
    """Run what is to be run and say what came of it; whether none of it failed. Raises BadInputError if nothing was begun."""
    completed = False
    try:
        with bad_input(SweepRefusedError), _observers(manifest, flags, console) as observers:
            options = _options(manifest, flags)
            summary = run_sweep(todo.plans, results, options, console=console, observers=observers)
    except gate.GateError as error:
        _refuse(str(error), console)
    except SweepError as error:
        console.print(Text(f"the sweep ended early: {error}", style="bold red"), soft_wrap=True)
    else:
        completed = summary.failed == 0
        if summary.completed or summary.failed:
            failed = f", {summary.failed} failed (python -m orchestrator status says why)" if summary.failed else ""
            say(console, f"{number_of(summary.completed, 'trial')} completed in {summary.seconds:.0f} s{failed}")
            if todo.left:
                say(console, f"not run: {todo.left}")
    finally:  # after Ctrl-C too
        for id in flags.again:
            if (kept := aside(results, id)).exists():
                say(console, f"{id} is not completed again: its earlier record is kept in {kept} until it is")
    return completed


def _say_what_is_left(todo: Todo, plans: Sequence[BenchmarkPlan], results: Results, console: Console) -> None:
    """What does not run although it might have been expected to."""
    if todo.left:
        say(console, todo.left)
    if not todo.again:
        return
    with bad_input(ValueError):
        stored = load_plans(results)
    say(console, f"again: {named(sorted(todo.again))}; nothing else runs but what is missing for that")
    if left := [id for id in builders([*plans, *stored], todo.again) if results.record(id).exists()]:
        say(
            console,
            f"built on that and not run again: {named(left)} (the same code, data and settings give the same result; name "
            "them with --again as well where that may not be so)",
        )


@contextlib.contextmanager
def _observers(manifest: Manifest, flags: Flags, console: Console) -> Iterator[list[Observer]]:
    """Who looks on while the sweep runs: what makes the page again, and what the manifest's `track:` names."""
    found: list[Observer] = [Rebuilder(manifest.results)] if flags.report else []
    if manifest.track:
        found.append(Tracking(manifest.track, Results(manifest.results)))
    try:
        yield found
    finally:
        for line in (line for observer in found for line in observer.close()):
            say(console, line)


def _report(manifest: Manifest, flags: Flags, console: Console) -> None:
    """The page. That it cannot be made changes nothing of how the sweep ended."""
    if not flags.report:
        return
    try:
        written = build_report(manifest.results)
    except (ValueError, OSError) as error:
        say(console, f"page not made: {' '.join(str(error).split())}")
        return
    for path in written:
        say(console, str(path))


def _fetch_weights(trials: Sequence[PlannedTrial]) -> None:
    """Have the published weights that trials name by tag in this machine's cache, without the network if they are there."""
    if not (wanted := tagged_weights(trials)):
        return
    from training.hub import HubError, fetch_weights

    problems = []
    for key, (name, tag) in wanted.items():
        try:
            fetch_weights(name, tag)
        except HubError as error:
            problems.append(f"models.{key}: {error}")
    if problems:
        raise BadInputError(problems)


def _pass_gate(
    plans: Sequence[BenchmarkPlan],
    todo: Todo,
    status: Mapping[str, Status],
    results: Results,
    flags: Flags,
    console: Console,
) -> bool:
    """Say how zero-shot trials that are done compare with published values; False if nothing may run for it.

    The sweep runs those that are not done before all that waits for them, and shows what differs. What waits for a stale
    one is not in `todo`, and one that runs again is not held to its earlier record.
    """
    runs = {trial.id for trial in todo.runs(status)}
    to_run = [plan for plan in plans if any(trial.id in runs for trial in plan.trials)]
    for plan in to_run:
        if not gate.gate_trials([plan]):
            say(console, f"{plan.benchmark}: no published zero-shot value to compare with")
    found = list(gate.findings(plans, results, todo.again))
    for line in found:
        console.print(Text(f"WARNING {line}", style="bold red"), soft_wrap=True)
    left = [t.id for plan in gate.gate_trials(to_run) for t in plan.trials if status[t.id] == "failed"]
    if flags.strict and found:
        _refuse(f"published values are not reached, {len(found)} in all", console)
    elif flags.strict and left and not flags.retry_failed:
        _refuse(f"{left[0]} failed before and is skipped", console)
    else:
        return True
    return False


def _refuse(why: str, console: Console) -> None:
    console.print(Text(f"nothing is trained (--strict): {why}", style="bold red"), soft_wrap=True)


def _prepare(manifest: Manifest, names: Sequence[str] | None, console: Console) -> None:
    """Make the generated datasets that are missing, if nothing else is."""
    with bad_input(ManifestError):
        missing = unprepared(manifest, names)
    if blocking := [item for item in missing if not item.generated]:
        raise BadInputError(f"{item.what}; {item.todo}" for item in blocking)
    for item in missing:
        with bad_input(datasets.DatasetError, FileNotFoundError, PermissionError):
            prepare(item.dataset_ref, None, item.folder or Path(), None, console)


def _options(manifest: Manifest, flags: Flags) -> SweepOptions:
    given = manifest.resources
    return SweepOptions(
        slots=flags.slots if flags.slots is not None else given.slots,
        gpus_per_trial=flags.gpus_per_trial if flags.gpus_per_trial is not None else given.gpus_per_trial,
        workers_per_trial=flags.workers_per_trial or given.workers_per_trial,
        cpus_per_trial=flags.cpus_per_trial if flags.cpus_per_trial is not None else given.cpus_per_trial,
        retry_failed=flags.retry_failed,
        again=frozenset(flags.again),
        strict=flags.strict,
        cache_gib=flags.cache_gib if flags.cache_gib is not None else given.cache_gib,
        silence_minutes=given.silence_minutes,
    )
