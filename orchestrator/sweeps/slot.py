"""What runs in the workers of a slot: lease a trial, run it, say how it ended, lease the next.

A slot is one long-lived Ray Train run, so the process, CUDA context and imported modules stay warm between trials.
Every rank executes `slot_loop`; rank 0 leases and tells the others. Errors of a trial end the trial, not the slot, except
where the process cannot be trusted any more: then the error is recorded first and raised, and Train starts new workers.
"""

from __future__ import annotations

import errno
import gc
import importlib
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
from ray.exceptions import RayActorError
from ray.train.collective import broadcast_from_rank_zero

from orchestrator.records import FailureClass, Results, read_record, write_record
from orchestrator.spec import PlannedTrial
from orchestrator.sweeps.broker import Event, Lease
from training.runtime import Runtime

RunTrial = Callable[[PlannedTrial, Results, Runtime, int], Any]

REPORT_EVERY_S = 1.0
"""At most one metrics event a second and trial: more is not readable, and each one passes through the broker and Tune."""

CLOSED, RECYCLE = "closed", "recycle"
"""What `slot_loop` returns: the pool has closed, or it is time for a fresh process. Any other text is why it cannot serve."""


class PoolClosed(Exception):  # noqa: N818 - not an error of the trial: the sweep was interrupted
    """The pool is gone: the running trial stops, unrecorded, at its next report."""


class WorkerLost(Exception):  # noqa: N818 - the name that records and warnings know it by
    """The workers of a trial died as often as `max_attempts` allows."""


class SlotStartError(RuntimeError):
    """A slot cannot serve any trial: the entry point or the device is unusable."""


@dataclass(frozen=True, slots=True)
class SlotConfig:
    """What a slot needs to know; JSON values only, since Train ships it."""

    slot: int
    broker: str
    """name of the broker actor in this job's namespace"""
    results: str
    entry: str
    """'module:function' with the signature of `orchestrator.trials.trial.run_trial`"""
    cpus: int
    gpus: float
    recycle_after: int | None
    cache_gib: float = 0.0
    """as in `Runtime`"""


@dataclass
class _Worker:
    """One rank of a slot."""

    config: SlotConfig
    broker: Any
    run_trial: RunTrial
    runtime: Runtime
    incarnation: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def results(self) -> Results:
        return Results(Path(self.config.results))


def slot_loop(config: dict[str, Any]) -> str:
    """The `train_loop_per_worker` of a slot. Returns CLOSED, RECYCLE or why no trial can run here."""
    try:
        worker = _start(SlotConfig(**config))
    except SlotStartError as error:
        return str(error)  # raised, it would make Train try again and again
    served = 0
    while worker.config.recycle_after is None or served < worker.config.recycle_after:
        try:
            lease = _next_lease(worker)
            if lease is None:
                return CLOSED
            _serve(worker, lease)
        except PoolClosed:
            return CLOSED
        served += 1
    return RECYCLE


def _start(config: SlotConfig) -> _Worker:
    try:
        module, _, function = config.entry.partition(":")
        run_trial = getattr(importlib.import_module(module), function)
        context = ray.train.get_context()
        device = ray.train.torch.get_device()
        torch.set_num_threads(config.cpus)
        if device.type == "cuda" and config.gpus < 1:
            # Ray shares a GPU by bookkeeping alone; without this cap one trial could starve its neighbours.
            torch.cuda.set_per_process_memory_fraction(config.gpus, device)
        runtime = Runtime(
            device=device,
            rank=context.get_world_rank(),
            world_size=context.get_world_size(),
            threads=config.cpus,
            cache_gib=config.cache_gib,
        )
        broker = ray.get_actor(config.broker)
    except Exception as error:
        raise SlotStartError(f"slot {config.slot} cannot start: {type(error).__name__}: {error}") from error
    return _Worker(config, broker, run_trial, runtime)


def _next_lease(worker: _Worker) -> Lease | None:
    lease = None
    if worker.runtime.is_main:
        try:
            lease = ray.get(worker.broker.lease.remote(worker.config.slot, worker.incarnation))
        except RayActorError as error:
            raise PoolClosed from error
    return broadcast_from_rank_zero(lease) if worker.runtime.world_size > 1 else lease


def _serve(worker: _Worker, lease: Lease) -> None:
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    trial = PlannedTrial.model_validate_json(ray.get(worker.broker.payload.remote(lease.trial_id)))
    try:
        if lease.lost:
            raise WorkerLost(f"worker lost {lease.attempt} times")
        if not (lease.attempt > 1 and _is_recorded(worker.results, trial.id)):
            _run(worker, trial, lease.attempt)
    except PoolClosed:
        raise
    except Exception as error:
        if worker.runtime.is_main or not lease.lost:
            _fail(worker, trial, error, lease.attempt, started_at)
        if not lease.lost and (poisons_process(error) or worker.runtime.world_size > 1):
            raise  # with several workers the others may wait in a collective for ever
    else:
        if worker.runtime.is_main:
            _settle(worker, trial.id, {"kind": "completed", "attempt": lease.attempt})
    finally:
        _clean_up(worker)


def _is_recorded(results: Results, trial_id: str) -> bool:
    """True if the worker that was lost had finished: it died between writing the record and saying so."""
    try:
        return read_record(results.record(trial_id)).status == "completed"
    except (FileNotFoundError, ValueError):
        return False


def _run(worker: _Worker, trial: PlannedTrial, attempt: int) -> None:
    report = _Reporter(worker.broker, trial.id)
    if worker.runtime.is_main:
        report.send({"kind": "started", "slot": worker.config.slot, "attempt": attempt})
    worker.run_trial(trial, worker.results, replace(worker.runtime, report=report), attempt)


class _Reporter:
    """`Runtime.report`: forwards metrics to the broker, throttled and without waiting for an answer."""

    def __init__(self, broker: Any, trial_id: str) -> None:
        self._broker = broker
        self._trial_id = trial_id
        self._next = 0.0
        self._pending: ray.ObjectRef[bool] | None = None

    def __call__(self, metrics: dict[str, float]) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + REPORT_EVERY_S
            self.send({"kind": "metrics", "metrics": {name: float(value) for name, value in metrics.items()}})

    def send(self, event: Event) -> None:
        try:
            # The answer to the report before, long there: this never waits, and tells of a closed pool.
            open_ = self._pending is None or ray.get(self._pending)
        except RayActorError:
            open_ = False
        if not open_:
            raise PoolClosed
        self._pending = self._broker.report.remote(self._trial_id, event)


def failure_class(error: BaseException) -> FailureClass:
    """Which failure it is: 'resource' for exhausted memory or disk, 'transient' for lost workers, else 'permanent'."""
    if isinstance(error, WorkerLost):
        return "transient"
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return "resource"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "resource"
    return "permanent"


def poisons_process(error: BaseException) -> bool:
    """True for CUDA errors after which every further CUDA call of the process fails. Running out of memory is none."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return False
    return isinstance(error, torch.AcceleratorError) or (isinstance(error, RuntimeError) and "CUDA error" in str(error))


def _fail(worker: _Worker, trial: PlannedTrial, error: Exception, attempt: int, started_at: str) -> None:
    from orchestrator.trials.trial import error_info, failed_record

    kind = failure_class(error)
    reason = f"{kind}: {error}" if isinstance(error, WorkerLost) else f"{kind}: {type(error).__name__}: {error}"
    try:
        write_record(worker.results, failed_record(trial, error_info(error, kind), attempt, started_at))
    except OSError as second:
        # A full disk is such a case: the sweep still learns the reason, and the trial counts as missing, not as done.
        reason = f"{reason} (and its record could not be written: {second})"
    _settle(worker, trial.id, {"kind": "failed", "reason": reason, "attempt": attempt})


def _settle(worker: _Worker, trial_id: str, verdict: Event) -> None:
    try:
        ray.get(worker.broker.settle.remote(worker.config.slot, trial_id, verdict))
    except RayActorError as error:
        raise PoolClosed from error


def _clean_up(worker: _Worker) -> None:
    """Leave the process as the next trial expects it; seeds are each trial's own affair."""
    gc.collect()
    torch.set_num_threads(worker.config.cpus)
    if worker.runtime.device.type == "cuda":
        torch.cuda.empty_cache()
