"""What runs in the workers of a slot: lease a trial, run it, say how it ended, lease the next.

A slot is one long-lived Ray Train run, so the process, CUDA context and imported modules stay warm between trials.
Every rank executes `slot_loop`; rank 0 leases and tells the others. Errors of a trial end the trial, not the slot, except
where the process cannot be trusted any more: then the error is recorded first and raised, and Train starts new workers.
`failures.py` has the table of who fails when, and what becomes of record, lease and process.
"""

from __future__ import annotations

import gc
import importlib
import socket
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
import torch.distributed as dist
from ray.exceptions import RayActorError
from ray.train.collective import broadcast_from_rank_zero

from orchestrator.records import Results, read_record, write_record
from orchestrator.spec import PlannedTrial
from orchestrator.sweeps.broker import Event, Lease
from orchestrator.sweeps.failures import WorkerLost, failure_class, is_lost_peer, poisons_process
from orchestrator.trials.process import reset_torch
from training.runtime import Interrupted, Runtime

RunTrial = Callable[[PlannedTrial, Results, Runtime, int], Any]

REPORT_EVERY_S = 1.0
"""At most one metrics event a second and trial: more is not readable, and each one passes through the broker and Tune."""

CLOSED, RECYCLE = "closed", "recycle"
"""What `slot_loop` returns: the pool has closed, or it is time for a fresh process. Any other text is why it cannot serve."""


class PoolClosed(Interrupted):
    """The pool is gone: the running trial stops, unrecorded, at its next report."""


class SlotStartError(RuntimeError):
    """A slot cannot serve any trial: the entry point or the device is unusable."""


class GroupBroken(RuntimeError):  # noqa: N818 - says what is so; the error is its cause
    """Raised out of `slot_loop` so that Train replaces the workers; the trial's affairs are in order by then."""


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
    worker, problem = None, ""
    try:
        worker = _start(SlotConfig(**config))
    except SlotStartError as error:
        problem = str(error)  # returned, since raised it would make Train try again and again
    problem = _of_all_ranks(problem)
    if worker is None or problem:
        return problem
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
        torch.zeros(1, device=device)  # a GPU that does not work says so here, not in every trial
        runtime = Runtime(
            device=device,
            rank=context.get_world_rank(),
            world_size=context.get_world_size(),
            threads=config.cpus,
            cache_gib=config.cache_gib,
        )
        broker = ray.get_actor(config.broker)
    except (Exception, SystemExit) as error:
        who = f"worker {dist.get_rank()} on {socket.gethostname()}: " if dist.is_initialized() and _ranks() > 1 else ""
        raise SlotStartError(f"slot {config.slot} cannot start: {who}{type(error).__name__}: {error}") from error
    return _Worker(config, broker, run_trial, runtime)


def _ranks() -> int:
    return int(ray.train.get_context().get_world_size())


def _of_all_ranks(problem: str) -> str:
    """The first rank's problem, on every rank: those that could start would wait for the others for ever."""
    if (ranks := _ranks()) == 1:
        return problem
    # Over the CPU: a GPU may be what does not work.
    group: Any = dist.new_group(backend="gloo")
    problems: list[str] = [""] * ranks
    dist.all_gather_object(problems, problem, group=group)
    dist.destroy_process_group(group)
    return next(filter(None, problems), "")


def _next_lease(worker: _Worker) -> Lease | None:
    lease = None
    if worker.runtime.is_main:
        try:
            myself = ray.get_runtime_context().current_actor
            lease = ray.get(worker.broker.lease.remote(worker.config.slot, worker.incarnation, myself))
        except RayActorError as error:
            raise PoolClosed from error
    return broadcast_from_rank_zero(lease) if worker.runtime.world_size > 1 else lease


def _serve(worker: _Worker, lease: Lease) -> None:
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    trial = PlannedTrial.model_validate_json(ray.get(worker.broker.payload.remote(lease.trial_id)))
    try:
        if lease.lost:
            last = f"; the last time: {lease.cause}" if lease.cause else ""
            raise WorkerLost(f"worker lost {lease.attempt} times{last}")
        if not (lease.attempt > 1 and _is_recorded(worker.results, trial.id)):
            _run(worker, trial, lease.attempt)
    except PoolClosed:
        raise
    except (Exception, SystemExit) as error:  # a method that calls sys.exit has failed; the slot goes on
        several = worker.runtime.world_size > 1
        if several and is_lost_peer(error):
            # The next incarnation gets the lease again. If the other worker has failed and said so, there is none.
            _tell(worker.broker.lost.remote(trial.id, f"worker {worker.runtime.rank} saw: {error}"))
            raise GroupBroken(f"{trial.id}: another worker is gone") from error
        if worker.runtime.is_main or not lease.lost:
            _fail(worker, trial, error, lease.attempt, started_at)
        if not lease.lost and (several or poisons_process(error)):
            # With several workers the others may wait in a collective for ever.
            raise GroupBroken(f"{trial.id}: its workers are replaced") from error
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


def _fail(worker: _Worker, trial: PlannedTrial, error: BaseException, attempt: int, started_at: str) -> None:
    """Record and settle a failure, unless another worker of the group was first: record and verdict are of one error."""
    if not _tell(worker.broker.claim.remote(worker.config.slot, trial.id, attempt)):
        return
    from orchestrator.trials.trial import error_info, failed_record

    kind = failure_class(error)
    info = error_info(error, kind)
    reason = f"{kind}: {info.message}" if isinstance(error, WorkerLost) else f"{kind}: {info.type}: {info.message}"
    try:
        write_record(worker.results, failed_record(trial, info, attempt, started_at))
    except OSError as second:
        # A full disk is such a case: the sweep still learns the reason, and the trial counts as missing, not as done.
        reason = f"{reason} (and its record could not be written: {second})"
    _settle(worker, trial.id, {"kind": "failed", "reason": reason, "attempt": attempt})


def _settle(worker: _Worker, trial_id: str, verdict: Event) -> None:
    _tell(worker.broker.settle.remote(worker.config.slot, trial_id, verdict))


def _tell(answer: ray.ObjectRef[Any]) -> Any:
    """The broker's answer. Raises PoolClosed if there is no broker any more."""
    try:
        return ray.get(answer)
    except RayActorError as error:
        raise PoolClosed from error


def _clean_up(worker: _Worker) -> None:
    """Leave the process as the next trial expects it; seeds are each trial's own affair."""
    gc.collect()
    reset_torch(worker.config.cpus)
    if worker.runtime.device.type == "cuda":
        torch.cuda.empty_cache()
