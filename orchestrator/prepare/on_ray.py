"""Runs the work of `prepare` and `verify` as Ray tasks, one core each, on all nodes of a cluster.

The published files and the shards' folder must lie where every node sees them under the same path.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import ray

from datasets import DatasetError
from datasets.parallel import JobT, JobTick, ResultT, Tick

_AHEAD = 2
"""Tasks for each core that are handed out before they are needed."""


def over_ray(
    work: Callable[[JobT, Tick], ResultT], jobs: Sequence[JobT], tick: JobTick
) -> Generator[tuple[int, ResultT], None, None]:
    """A `Runner` over the Ray that is connected. A lost node's tasks run again elsewhere; a closed run cancels its tasks.

    Raises what the work raised, and DatasetError if Ray gave a task up.
    """
    shared = ray.put(work)
    waiting: dict[Any, int] = {}
    numbers = iter(range(len(jobs)))
    try:
        while True:
            cores = ray.cluster_resources().get("CPU", 1)
            ahead = _AHEAD * max(1, int(cores))
            while len(waiting) < ahead and (number := next(numbers, None)) is not None:
                waiting[_run.remote(shared, jobs[number])] = number
            if not waiting:
                return
            done, _ = ray.wait(list(waiting), num_returns=1)
            number = waiting.pop(done[0])
            try:
                result = ray.get(done[0])
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None  # its text is for the user; Ray's has tracebacks of both sides
            except ray.exceptions.RayError as error:
                lines = str(error).splitlines() or [""]
                raise DatasetError(
                    f"a worker of Ray was lost, and in vain replaced ({type(error).__name__}: {lines[0]}); look after the "
                    "nodes' memory and disks, then run the same command again, it continues"
                ) from None
            yield number, result
    finally:
        for task in waiting:
            ray.cancel(task, force=True)


@ray.remote(num_cpus=1)
def _run(work: Any, job: Any) -> Any:
    return work(job, lambda images: None)
