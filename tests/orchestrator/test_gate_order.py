"""Trials wait for the zero-shot gate of their data and model, and only where there is something to await."""

from __future__ import annotations

from pathlib import Path

import pytest

from datasets.shards import Prepared
from orchestrator.planning import gate
from orchestrator.records import Results
from orchestrator.sweeps.searcher import Graph
from orchestrator.trials.trial import run_trial
from tests.orchestrator.gate_fakes import driver, gated, sweep
from training.runtime import Runtime

__all__ = ["sweep"]


def test_with_strict_a_zero_shot_trial_that_fails_lets_nothing_train(
    blobs: Prepared, tiny_config: Path, tmp_path: Path
) -> None:
    ft, zero = gated(blobs, tiny_config)
    sweep, _ = driver([ft, zero], Results(tmp_path), strict=True)
    assert sweep._graph.next() == zero.id
    sweep.on_tick()
    sweep.on_end(zero.id, {"kind": "failed", "reason": "permanent: no such file"}, False)
    assert sweep._graph.next() is None
    with pytest.raises(gate.GateError, match=f"{zero.id} did not reach what is published"):
        sweep.on_tick()


def test_trials_wait_for_the_gate_of_their_data_and_model_and_for_no_other(blobs: Prepared, tiny_config: Path) -> None:
    ft, zero = gated(blobs, tiny_config)
    assert gate.waits([ft, zero]) == {ft.id: {zero.id}}
    elsewhere = zero.spec.model_copy(update={"data": zero.spec.data.model_copy(update={"identity": "0" * 64})})
    assert gate.waits([ft, zero.model_copy(update={"spec": elsewhere})]) == {}
    assert gate.waits([ft, zero.model_copy(update={"expected": ()})]) == {}


@pytest.mark.parametrize("reason", [None, "permanent: NaN"])
def test_the_graph_hands_out_the_gate_first_and_the_rest_however_it_ends(
    reason: str | None, blobs: Prepared, tiny_config: Path
) -> None:
    ft, zero = gated(blobs, tiny_config)
    graph = Graph([ft, zero], {}, gate.waits([ft, zero]))
    assert [graph.next(), graph.next()] == [zero.id, None]
    assert not graph.exhausted
    graph.end(zero.id, reason)
    assert graph.next() == ft.id
    assert graph.exhausted
    assert graph.take_doomed() == []
    for ended in ({zero.id: None}, {zero.id: "permanent: NaN"}):
        assert Graph([ft], ended, gate.waits([ft, zero])).next() == ft.id


def test_with_strict_all_that_trains_waits_for_all_gates(blobs: Prepared, tiny_config: Path) -> None:
    ft, zero = gated(blobs, tiny_config)
    other = ft.spec.model_copy(update={"data": ft.spec.data.model_copy(update={"identity": "0" * 64})})
    elsewhere = ft.model_copy(update={"spec": other, "id": "elsewhere"})
    assert gate.waits([ft, zero, elsewhere]) == {ft.id: {zero.id}}
    assert gate.waits([ft, zero, elsewhere], strict=True) == {ft.id: {zero.id}, "elsewhere": {zero.id}}


def test_the_sweep_shows_a_difference_when_the_trial_ends_and_goes_on(
    blobs: Prepared, tiny_config: Path, tmp_path: Path
) -> None:
    ft, zero = gated(blobs, tiny_config)
    record = run_trial(zero, Results(tmp_path), Runtime(), attempt=1)
    sweep, progress = driver([ft, zero], Results(tmp_path), strict=False)
    assert sweep._graph.next() == zero.id
    sweep.on_end(zero.id, None, False)
    assert progress.said == [f"WARNING {zero.id}: {record.warnings[0]}"]
    sweep.on_tick()
    assert sweep._graph.next() == ft.id
