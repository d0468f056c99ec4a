"""Runs one function over many jobs: in this process, or over processes that end when this one does.

A runner is what `prepare` and `verify` are given; another one, over Ray, lies in `orchestrator/`. Results come in the order
in which they are done.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol, TypeVar

from datasets import DatasetError

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")
Tick = Callable[[int], None]
"""A job calls it with how many of its images are through."""
JobTick = Callable[[int, int], None]
"""(number of the job, how many of its images are through)"""
_POLL_SECONDS = 0.2
_MALLOC = {-1: 256 * 2**20, -2: 16 * 2**20, -3: 32 * 2**20}
"""Of glibc's <malloc.h>: M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD, in bytes; the last as high as it may be."""


class Runner(Protocol):
    """Calls `work(job, tick)` for all jobs; `work`, jobs and results must be picklable."""

    def __call__(
        self, work: Callable[[JobT, Tick], ResultT], jobs: Sequence[JobT], tick: JobTick
    ) -> Generator[tuple[int, ResultT], None, None]:
        """(number of the job, its result) as they are done. An error of a job ends it all and is raised here."""
        ...


class _Stopped(Exception):  # noqa: N818 - not an error: the run has ended, nobody wants the result
    pass


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Have this process keep what an image took for the next one; does nothing where the C library is not glibc.

    Left alone, malloc gives every decoded image back to the system and asks for it again: some 360 page faults an image of
    500 x 375 pixels, a tenth of the time that `prepare` takes. Only for processes that do nothing else.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in _MALLOC.items():
            mallopt(parameter, value)


def in_process(
    work: Callable[[JobT, Tick], ResultT], jobs: Sequence[JobT], tick: JobTick
) -> Generator[tuple[int, ResultT], None, None]:
    """A `Runner` that does one job after the other, here."""
    for number, job in enumerate(jobs):
        yield number, work(job, _numbered(tick, number))


def processes(count: int) -> Runner:
    """A `Runner` over `count` processes; one, or a single job, needs none of its own.

    Raises DatasetError if one of them is killed. Ctrl-C reaches this process alone, which then stops the others; they
    also end when this process is killed.
    """

    def run(
        work: Callable[[JobT, Tick], ResultT], jobs: Sequence[JobT], tick: JobTick
    ) -> Generator[tuple[int, ResultT], None, None]:
        if min(count, len(jobs)) <= 1:
            return in_process(work, jobs, tick)
        return _over_processes(work, jobs, tick, min(count, len(jobs)))

    return run


def _over_processes(
    work: Callable[[JobT, Tick], ResultT], jobs: Sequence[JobT], tick: JobTick, count: int
) -> Generator[tuple[int, ResultT], None, None]:
    # Not fork: this process may have threads of torch or Ray. Counters need no lock, so a killed worker leaves none held.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["datasets.worker_preload"])
    done, stop = context.RawArray("Q", len(jobs)), context.RawValue("b", 0)
    shown = [0] * len(jobs)
    pool = ProcessPoolExecutor(count, context, _start_worker, (work, done, stop))
    try:
        with _heard_later():  # these calls start the processes
            futures = {pool.submit(_do, number, job): number for number, job in enumerate(jobs)}
        waiting = set(futures)
        while waiting:
            finished, waiting = wait(waiting, _POLL_SECONDS, FIRST_COMPLETED)
            for number, images in enumerate(done):
                if images != shown[number]:
                    shown[number] = images
                    tick(number, images)
            for future in finished:
                yield futures[future], future.result()
    except BrokenProcessPool:
        raise DatasetError(
            "a worker process was killed, perhaps because memory ran out; what is finished is kept: "
            "run the same command again, with fewer --workers if it was memory"
        ) from None
    finally:
        stop.value = 1
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _heard_later() -> Iterator[None]:
    """Ctrl-C inside is heard at the end, and never by processes that are started here: half started, they would print errors."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    heard: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which processes inherit
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, before)
    if heard:
        before(signal.SIGINT, None)


def _numbered(tick: JobTick, number: int) -> Tick:
    return lambda images: tick(number, images)


_worker: list[tuple[Callable[[Any, Tick], Any], Any, Any]] = []  # in a worker process: what it works on


def _start_worker(work: Callable[[Any, Tick], Any], done: Any, stop: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker.append((work, done, stop))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _do(number: int, job: Any) -> Any:
    work, done, stop = _worker[0]

    def tick(images: int) -> None:
        done[number] = images
        if stop.value:
            raise _Stopped

    with contextlib.suppress(_Stopped):
        return work(job, tick)
