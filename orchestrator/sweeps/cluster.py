"""Where a sweep runs: the Ray it joins or starts, and how the machines it finds are cut into slots."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import ray

ROOT = Path(__file__).resolve().parents[2]

GIB = 2**30
MEMORY_PER_SLOT = int(1.6 * GIB)
"""Resident size of a CPU slot: Train's five helper processes (1.2 GB, shared pages counted) and the worker."""

START_ATTEMPTS = 3

OBJECT_STORE_BYTES = 100 * 2**20
"""Of a local Ray. Metrics and ids go through it, never images or weights; the default is 30 % of the memory."""

_ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25",  # a lost worker is noticed and a run ends this fast; default 2
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",  # of Train runs that last as long as the sweep: they would say nothing
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # workers stay in the checkout
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # five files a trial that repeat its record
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C raises KeyboardInterrupt at once instead of saving Tune's state
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""For the driver. Train and Tune hand theirs on to their workers. Values the user has set win."""

_LOCAL_ENVIRONMENT = {
    "RAY_worker_niceness": "0",  # default 15: slots would starve beside anything else
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # a process a slot; this machine is not drained
}
"""Inherited by the processes of a local Ray, as are the driver's."""


class ClusterError(RuntimeError):
    """There is no Ray to run on, or not for what was asked."""


class MisfitError(ClusterError):
    """What was asked for does not fit the machines there are, or cannot be."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asks for; None: whatever fits."""

    slots: int | None = None
    gpus_per_trial: float | None = None
    workers_per_trial: int = 1
    cpus_per_trial: int | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """How many slots, and what each worker of a slot gets."""

    slots: int
    workers: int
    cpus: int
    """CPUs of one worker; also its number of threads"""
    gpus: float
    """GPUs of one worker"""

    def __str__(self) -> str:
        share = f"{_gpus(self.gpus)}, " if self.gpus else ""
        group = f"{self.workers} workers of " if self.workers > 1 else ""
        return f"{_count(self.slots, 'slot')} x {group}{share}{_count(self.cpus, 'thread')}"


@dataclass(frozen=True, slots=True)
class Session:
    """A Ray that is there to be used."""

    dashboard: str | None
    """URL, None if there is none"""
    token: str | None
    """what the dashboard asks for, if it was made up for this session"""


@contextlib.contextmanager
def session(dashboard: bool = True) -> Iterator[Session]:
    """A connection to Ray, closed at the end unless it was there before.

    `RAY_ADDRESS` set, as it is in a submitted job: that cluster is joined. Otherwise a local Ray is started for this
    sweep alone, even if another happens to run on this machine.
    """
    if ray.is_initialized():
        with _environment(_ENVIRONMENT):
            yield Session(dashboard=None, token=None)
        return
    address = os.environ.get("RAY_ADDRESS")
    with _environment(_ENVIRONMENT if address else _ENVIRONMENT | _LOCAL_ENVIRONMENT):
        try:
            yield _join() if address else _start(dashboard)
        finally:
            ray.shutdown()


def _join() -> Session:
    context = ray.init(logging_level=logging.ERROR, log_to_driver=False)
    url = getattr(context, "dashboard_url", None)
    return Session(dashboard=f"http://{url}" if url else None, token=None)


def _start(dashboard: bool) -> Session:
    # Ray listens on all interfaces whatever it is told, and a local Ray demands a token by default. Left alone it writes
    # one into ~/.ray, and every later `ray start` on this machine silently demands that; ours lives as long as the sweep.
    token = None
    told = any(name in os.environ for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    if not told and not (Path.home() / ".ray" / "auth_token").exists():
        token = os.environ["RAY_AUTH_TOKEN"] = _own_token()
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    # The workers' `datasets` must be ours, wherever the driver was started.
    os.environ["PYTHONPATH"] = os.pathsep.join(path)
    url = getattr(_init_local(dashboard), "dashboard_url", None)
    return Session(dashboard=f"http://{url}" if url else None, token=token)


@cache
def _own_token() -> str:
    """One for the life of this process: Ray remembers the first it is given, so a second session must not have another."""
    return secrets.token_hex(16)


def _init_local(dashboard: bool) -> object:
    """`ray.init` of a local Ray, tried again: on a busy machine its node may miss the 30 s that Ray hard-codes for it."""
    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            return ray.init(
                address="local",
                include_dashboard=None if dashboard else False,  # None: if it is installed
                dashboard_host="127.0.0.1",
                object_store_memory=OBJECT_STORE_BYTES,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        except Exception as error:  # Ray raises no narrower one
            ray.shutdown()
            if attempt == START_ATTEMPTS:
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise ClusterError(f"a local Ray did not start in {attempt} attempts: {reason}") from error
    raise AssertionError("unreachable")


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables that are not set; at the end the environment is as it was, what Ray itself sets included."""
    before = dict(os.environ)
    os.environ.update({name: value for name, value in variables.items() if name not in before})
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update({name: value for name, value in before.items() if os.environ.get(name) != value})


def nodes() -> list[dict[str, float]]:
    """Resources of each living node of the cluster: 'CPU', 'GPU', 'memory' in bytes."""
    return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def fit(request: Request, machines: Sequence[Mapping[str, float]], trials: int) -> Shape:
    """Cut the machines into slots, never more than there are trials.

    GPUs: one slot a GPU, or as many as `gpus_per_trial` allows. CPUs alone: as many slots as CPUs and memory allow,
    since several small processes waste less than one with several threads; CPUs left over become threads.
    Raises MisfitError naming what was asked for and what there is.
    """
    _check(request)
    workers = request.workers_per_trial
    gpus = _gpus_per_worker(request, machines)
    asked = request.cpus_per_trial // workers if request.cpus_per_trial else None
    most = sum(_workers_on(machine, gpus, asked or 1) for machine in machines) // workers
    if most == 0:
        raise MisfitError(f"no slot fits: a trial asks for {_wish(workers, gpus, asked or 1)}, but {_found(machines)}")
    if request.slots is not None and request.slots > most:
        wish = f"{_count(request.slots, 'slot')} of {_wish(workers, gpus, asked or 1)}"
        raise MisfitError(f"{wish} do not fit: {_found(machines)}, enough for {_count(most, 'slot')}")
    slots = request.slots or (most if gpus else min(most, _memory_allows(machines, workers)))
    slots = min(slots, max(trials, 1))
    cpus = asked or _threads(machines, gpus, slots * workers)
    return Shape(slots, workers, cpus, gpus)


def _check(request: Request) -> None:
    for name in ("slots", "workers_per_trial", "cpus_per_trial"):
        value = getattr(request, name)
        if value is not None and value < 1:
            raise MisfitError(f"{name} must be at least 1, got {value}")
    gpus, workers, cpus = request.gpus_per_trial, request.workers_per_trial, request.cpus_per_trial
    if cpus is not None and cpus % workers:
        raise MisfitError(
            f"{workers} workers a trial need a whole number of CPUs each, got {_count(cpus, 'CPU')} a trial: ask for "
            f"{-(-cpus // workers) * workers} CPUs a trial"
        )
    if gpus is None:
        return
    if gpus < 0 or (gpus > 1 and gpus != int(gpus)):
        raise MisfitError(f"gpus_per_trial must be a share of one GPU or a whole number of GPUs, got {gpus:g}")
    if workers > 1 and gpus % workers:
        raise MisfitError(
            f"{workers} workers a trial need a whole number of GPUs each, got {gpus:g} GPUs a trial: several workers cannot "
            f"share a GPU. Ask for {workers} GPUs a trial, or for one worker"
        )
    if workers == 1 and gpus > 1:
        raise MisfitError(
            f"one worker uses one GPU, got {gpus:g} GPUs a trial: ask for {gpus:g} workers a trial as well"
        )


def _gpus_per_worker(request: Request, machines: Sequence[Mapping[str, float]]) -> float:
    if request.gpus_per_trial is not None:
        return request.gpus_per_trial / request.workers_per_trial
    return 1.0 if any(machine.get("GPU", 0) >= 1 for machine in machines) else 0.0


def _workers_on(machine: Mapping[str, float], gpus: float, cpus: int) -> int:
    room = int(machine.get("CPU", 0)) // cpus
    if gpus:
        # On each GPU separately: 0.4 of a GPU twice, not five times on two GPUs.
        per_gpu = int(1 / gpus + 1e-6)
        room = min(room, int(machine.get("GPU", 0)) * per_gpu)
    return room


def _memory_allows(machines: Sequence[Mapping[str, float]], workers: int) -> int:
    return max(1, sum(int(machine.get("memory", 0) // MEMORY_PER_SLOT) for machine in machines) // workers)


def _threads(machines: Sequence[Mapping[str, float]], gpus: float, workers: int) -> int:
    """The most CPUs a worker can have so that `workers` of them fit."""
    cpus = max(int(machine.get("CPU", 0)) for machine in machines)
    while cpus > 1 and sum(_workers_on(machine, gpus, cpus) for machine in machines) < workers:
        cpus -= 1
    return max(cpus, 1)


def _wish(workers: int, gpus: float, cpus: int) -> str:
    each = f"{_gpus(gpus)} and {_count(cpus, 'CPU')}" if gpus else _count(cpus, "CPU")
    return each if workers == 1 else f"{workers} workers with {each} each"


def _found(machines: Sequence[Mapping[str, float]]) -> str:
    cpus, gpus = (sum(machine.get(kind, 0) for machine in machines) for kind in ("CPU", "GPU"))
    return f"Ray has {_count(int(cpus), 'CPU')} and {_count(int(gpus), 'GPU')} on {_count(len(machines), 'node')}"


def _gpus(number: float) -> str:
    return f"{number:g} GPU{'s' if number > 1 else ''}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
