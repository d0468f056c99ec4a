"""Runs plans: every trial that is not recorded becomes a thin Ray Tune trial that a warm slot of the pool works off.

Resuming is not Tune's affair but the records': a plan minus what is done is what to run, so the same command again
continues a sweep that was stopped or killed, and a changed manifest adds to it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from orchestrator.records import Results
from orchestrator.spec import BenchmarkPlan, PlannedTrial
from orchestrator.sweeps.aside import set_aside, settle
from orchestrator.sweeps.driver import Driver, SweepError, SweepRefusedError, readable_record
from orchestrator.sweeps.interrupts import Interrupts
from orchestrator.sweeps.observers import Observer

if TYPE_CHECKING:
    from orchestrator.sweeps.progress import Progress

ENTRY = "orchestrator.trials.trial:run_trial"

MAX_TRIALS_A_TUNER = 2000
"""Tune writes the state of all its trials, 14 kB each, every ten seconds."""


@dataclass(frozen=True, slots=True)
class SweepOptions:
    """How to run, never what: nothing here changes a result."""

    slots: int | None = None
    """trials at a time; None: what the machines allow"""
    gpus_per_trial: float | None = None
    """a share of one GPU or whole GPUs; None: one for each worker where there are GPUs"""
    workers_per_trial: int = 1
    cpus_per_trial: int | None = None
    retry_failed: bool = True
    """run trials again whose record says that they failed"""
    again: frozenset[str] = frozenset()
    """trials that run whatever their record says"""
    strict: bool = False
    """train nothing unless all published values are reached"""
    max_attempts: int = 3
    """workers a trial may cost before it is recorded as failed"""
    recycle_after: int | None = None
    """trials after which a slot gets fresh processes; None: never"""
    cache_gib: float = 0.0
    """limit of each machine's cache of decoded pixels; 0: none"""
    silence_minutes: float | None = None
    """minutes without a sign of life after which a trial's workers are taken for lost; None: no limit"""


@dataclass(frozen=True, slots=True)
class SweepSummary:
    """What came of a sweep. `failed` counts every trial of the plans that is recorded as failed at its end."""

    done_before: int
    completed: int
    failed: int
    seconds: float


def run_sweep(
    plans: Sequence[BenchmarkPlan],
    results: Results,
    options: SweepOptions,
    *,
    entry: str = ENTRY,
    console: Console | None = None,
    observers: Sequence[Observer] = (),
) -> SweepSummary:
    """Run all trials of `plans` that are not done, each once even if several plans name it.

    A failed trial is recorded with its reason and fails the trials that need it; the others go on. Raises
    SweepRefusedError if nothing was begun, as what was asked for cannot be, SweepError if nothing can run (any more),
    GateError if published values are not reached and must be, and KeyboardInterrupt, with everything closed, on Ctrl-C or
    SIGTERM. `entry` names the function that runs a trial on the workers, as
    'module:function'. `observers` are told what happens; closing them is up to the caller.
    """
    began = time.monotonic()
    console = console or Console()
    planned = {trial.id: trial for plan in plans for trial in plan.trials}
    ended = _recorded(planned, results, options)
    trials = [trial for id, trial in planned.items() if id not in ended]
    trials.sort(key=lambda trial: trial.kind != "reference")  # what is quick, and what others are measured by, first
    done_before = sum(ended.get(id, "") is None for id in planned)
    if trials:
        with _only_sweep(results) as storage:
            set_aside(results, options.again)
            try:
                _run(trials, ended, results, options, storage, entry, console, observers)
            finally:
                settle(results, options.again)
    completed = sum(ended.get(id, "") is None for id in planned) - done_before
    return SweepSummary(done_before, completed, len(planned) - done_before - completed, time.monotonic() - began)


def _recorded(planned: Mapping[str, PlannedTrial], results: Results, options: SweepOptions) -> dict[str, str | None]:
    """Trials that are over, and inputs from other plans: id -> None if done, else why it failed."""
    ended: dict[str, str | None] = {}
    needed = planned.keys() | {id for trial in planned.values() for id in trial.spec.inputs}
    for id in needed - options.again:
        record = readable_record(results, id)
        if record and record.status == "completed":
            ended[id] = None
        elif record and record.error and (not options.retry_failed or id not in planned):
            ended[id] = f"{record.error.failure_class}: {record.error.message}"
    return ended


@contextlib.contextmanager
def _only_sweep(results: Results) -> Iterator[Path]:
    """The folder for Ray's own files, under a lock: two sweeps into the same results would run the same trials.

    The lock dies with this process, however it ends; what a killed sweep left behind is removed by the next.
    """
    base = results.root / ".ray"
    base.mkdir(parents=True, exist_ok=True)
    with (base / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SweepRefusedError(
                f"another sweep is writing into {results.root}: wait for it, or stop it first"
            ) from None
        for stale in base.iterdir():
            if stale.is_dir():
                shutil.rmtree(stale, ignore_errors=True)
        storage = base / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        storage.mkdir()
        try:
            yield storage
        finally:
            shutil.rmtree(storage, ignore_errors=True)


def _run(
    trials: list[PlannedTrial],
    ended: dict[str, str | None],
    results: Results,
    options: SweepOptions,
    storage: Path,
    entry: str,
    console: Console,
    observers: Sequence[Observer],
) -> None:
    # Imported here: Ray takes seconds, and a sweep with nothing left to run needs none of it.
    from orchestrator.sweeps import cluster
    from orchestrator.sweeps.pool import Pool, PoolError
    from orchestrator.sweeps.progress import Progress

    request = cluster.Request(options.slots, options.gpus_per_trial, options.workers_per_trial, options.cpus_per_trial)
    with (
        _raising(SweepError, cluster.ClusterError, PoolError),
        _raising(SweepRefusedError, cluster.MisfitError),
        _quiet(console) as display,
        cluster.session() as found,
        Interrupts().listening() as interrupts,
    ):
        shape = cluster.fit(request, cluster.nodes(), len(trials))
        pool = Pool(
            shape,
            results.root,
            storage,
            entry,
            options.max_attempts,
            options.recycle_after,
            options.cache_gib,
            silence_s=options.silence_minutes and 60 * options.silence_minutes,
        )
        with Progress(trials, shape.slots, results, display) as progress:
            _announce(progress, found, shape, len(trials), len(ended))
            driver = Driver(ended, results, pool, progress, storage, interrupts, options.strict, observers)
            patience = 2.0
            try:
                pool.start()
                for start in range(0, len(trials), MAX_TRIALS_A_TUNER):
                    driver.run_batch(trials[start : start + MAX_TRIALS_A_TUNER], start // MAX_TRIALS_A_TUNER)
                patience = 15.0
            finally:
                pool.close(patience)


def _announce(progress: Progress, found: Any, shape: Any, to_run: int, over: int) -> None:
    progress.say(f"{to_run} trials to run, {over} recorded before; {shape}")
    if found.dashboard:
        # On a terminal alone: a log may be read by others while the token is good.
        token = f" (token {found.token})" if found.token and progress.on_terminal else ""
        progress.say(f"Ray dashboard: {found.dashboard}{token}")


@contextlib.contextmanager
def _raising(kind: type[SweepError], *kinds: type[Exception]) -> Iterator[None]:
    """Errors of several kinds are one to who asked for the sweep."""
    try:
        yield
    except kinds as error:
        raise kind(str(error)) from None


@contextlib.contextmanager
def _quiet(console: Console) -> Iterator[Console]:
    """Drop what others, Tune that is, print to stdout; yields a console that still writes where `console` does."""
    kept = Console(
        file=console.file, force_terminal=console.is_terminal, width=None if console.is_terminal else console.width
    )
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield kept
