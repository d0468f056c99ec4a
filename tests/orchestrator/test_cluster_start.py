"""A local Ray that does not come up at once is tried again, and said to be down in one line if it never comes."""

from __future__ import annotations

import pytest

from orchestrator.sweeps import cluster


def failing(monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    """`ray.init` fails the first `times` times; returns the list that grows with each call."""
    calls: list[int] = []

    def init(**options: object) -> str:
        calls.append(1)
        if len(calls) <= times:
            raise Exception("The current node timed out during startup.\nmore")
        return "context"

    monkeypatch.setattr(cluster.ray, "init", init)
    monkeypatch.setattr(cluster.ray, "shutdown", lambda: None)
    return calls


def test_a_slow_start_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = failing(monkeypatch, 2)
    assert cluster._init_local(dashboard=False) == "context"
    assert len(calls) == 3


def test_no_start_at_all_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = failing(monkeypatch, 99)
    with pytest.raises(
        cluster.ClusterError, match=r"did not start in 3 attempts: The current node timed out during startup\.$"
    ):
        cluster._init_local(dashboard=False)
    assert len(calls) == 3
