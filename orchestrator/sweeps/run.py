"""What `run` does: check everything, prepare generated data, plan, sweep, report."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

import datasets
from orchestrator.bad_input import BadInputError, bad_input
from orchestrator.live.rebuild import Rebuilder
from orchestrator.manifest.read import Manifest, ManifestError
from orchestrator.planning import gate
from orchestrator.planning.plan import Status, make_plans, statuses
from orchestrator.planning.plan_view import counted, say
from orchestrator.planning.unprepared import tagged_weights, unprepared
from orchestrator.prepare.dataset import prepare
from orchestrator.records import Results, write_plan
from orchestrator.report import build_report
from orchestrator.spec import BenchmarkPlan, PlannedTrial
from orchestrator.sweeps.driver import SweepError
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


def run_benchmarks(manifest: Manifest, names: Sequence[str] | None, flags: Flags, console: Console) -> bool:
    """Run what is not done of these benchmarks; whether all of it is done then.

    Raises BadInputError, before any trial is started, if data or weights are missing.
    """
    _prepare(manifest, names, console)
    results = Results(manifest.results)
    with bad_input(ManifestError):
        plans = make_plans(manifest, names)
    status = statuses(plans, results)
    say(console, counted(list(status), status))
    _fetch_weights([trial for plan in plans for trial in plan.trials if status[trial.id] != "done"])
    with bad_input(PermissionError, NotADirectoryError, FileExistsError):
        for plan in plans:
            write_plan(results, plan)
    if not _pass_gate(plans, status, results, flags, console):
        _report(manifest, flags, console)
        return False
    try:
        with bad_input(SweepError), _observers(manifest, flags, console) as observers:
            summary = run_sweep(plans, results, _options(manifest, flags), console=console, observers=observers)
    except gate.GateError as error:
        _refuse(str(error), console)
        _report(manifest, flags, console)
        return False
    if summary.completed or summary.failed:
        failed = f", {summary.failed} failed (python -m orchestrator status says why)" if summary.failed else ""
        say(console, f"{summary.completed} trials completed in {summary.seconds:.0f} s{failed}")
    _report(manifest, flags, console)
    return summary.failed == 0


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
    if flags.report:
        for path in build_report(manifest.results):
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
    plans: Sequence[BenchmarkPlan], status: Mapping[str, Status], results: Results, flags: Flags, console: Console
) -> bool:
    """Say how zero-shot trials that are done compare with published values; False if nothing may run for it.

    The sweep runs those that are not done before all that waits for them, and shows what differs.
    """
    to_run = [plan for plan in plans if any(status[trial.id] != "done" for trial in plan.trials)]
    for plan in to_run:
        if not gate.gate_trials([plan]):
            say(console, f"{plan.benchmark}: no published zero-shot value to compare with")
    found = list(gate.findings(plans, results))
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
        strict=flags.strict,
        cache_gib=flags.cache_gib if flags.cache_gib is not None else given.cache_gib,
    )
