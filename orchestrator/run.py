"""What `run` does: check everything, prepare generated data, plan, sweep, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

import datasets
from orchestrator.bad_input import BadInputError, bad_input
from orchestrator.manifest import Manifest, ManifestError
from orchestrator.plan import make_plans, statuses, unprepared
from orchestrator.plan_view import counted, say
from orchestrator.prepare import prepare
from orchestrator.records import Results, write_plan
from orchestrator.report import build_report
from orchestrator.sweep import SweepError, SweepOptions, run_sweep


@dataclass(frozen=True)
class Flags:
    """What the command line says about how to run; None: the manifest's `resources:` decide."""

    slots: int | None = None
    gpus_per_trial: float | None = None
    workers_per_trial: int | None = None
    cpus_per_trial: int | None = None
    retry_failed: bool = True
    report: bool = True


def run_benchmarks(manifest: Manifest, names: Sequence[str] | None, flags: Flags, console: Console) -> bool:
    """Run what is not done of these benchmarks; whether all of it is done then.

    Raises BadInputError, before anything is started or written, if data or weights are missing.
    """
    _prepare(manifest, names, console)
    results = Results(manifest.results)
    with bad_input(ManifestError):
        plans = make_plans(manifest, names)
    status = statuses(plans, results)
    say(console, counted(list(status), status))
    with bad_input(PermissionError, NotADirectoryError, FileExistsError):
        for plan in plans:
            write_plan(results, plan)
    with bad_input(SweepError):
        summary = run_sweep(plans, results, _options(manifest, flags), console=console)
    if summary.completed or summary.failed:
        failed = f", {summary.failed} failed (python -m orchestrator status says why)" if summary.failed else ""
        say(console, f"{summary.completed} trials completed in {summary.seconds:.0f} s{failed}")
    if flags.report:
        for path in build_report(manifest.results):
            say(console, str(path))
    return summary.failed == 0


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
    )
