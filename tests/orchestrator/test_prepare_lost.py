"""`prepare --ray` where Ray gives a task up: one line for the user. Without Ray, which takes minutes to lose a worker."""

from __future__ import annotations

from typing import Any

import pytest
import ray

from datasets import DatasetError
from orchestrator.prepare import on_ray


class Tasks:
    """As much of Ray as the run needs; every task is lost."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cancelled: list[int] = []
        monkeypatch.setattr(on_ray, "_run", self)
        monkeypatch.setattr(ray, "put", lambda work: work)
        monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
        monkeypatch.setattr(ray, "wait", lambda tasks, num_returns: (tasks[:num_returns], tasks[num_returns:]))
        monkeypatch.setattr(ray, "get", self.get)
        monkeypatch.setattr(ray, "cancel", lambda task, force: self.cancelled.append(task))

    def remote(self, work: Any, job: int) -> int:
        return job

    def get(self, task: int) -> None:
        raise ray.exceptions.WorkerCrashedError


def test_a_task_that_ray_gives_up_is_one_line_and_the_rest_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = Tasks(monkeypatch)
    with pytest.raises(DatasetError, match=r"^a worker of Ray was lost.*WorkerCrashedError.*it continues$") as caught:
        list(on_ray.over_ray(lambda job, tick: None, range(10), lambda number, images: None))
    assert len(str(caught.value).splitlines()) == 1
    assert tasks.cancelled == [1, 2, 3], "what was handed out and not waited for"
