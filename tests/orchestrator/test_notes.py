"""What slowed trials down is said once in a sweep, however many trials it slowed down."""

from __future__ import annotations

from pathlib import Path

import pytest

from datasets.shards import Prepared
from orchestrator.records import Results
from orchestrator.trials.trial import run_trial
from tests.orchestrator.gate_fakes import driver
from tests.orchestrator.trials import planned
from training.runtime import Runtime


def test_a_cache_too_small_is_said_once_for_each_split(
    blobs: Prepared, tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBUST_FT_BENCH_CACHE", str(tmp_path / "node"))
    trials = [planned(blobs, tiny_config, "ft", seed=seed) for seed in (0, 1)]
    trials += [planned(blobs, tiny_config, "zero_shot")]
    results, limit = Results(tmp_path / "results"), 25_000 / 2**30  # for two of the three splits that are measured
    records = [run_trial(trial, results, Runtime(cache_gib=limit), attempt=1) for trial in trials]
    assert len({line for record in records for line in record.notes}) > 4, "their sums differ"
    for trial, record in zip(trials, records, strict=True):
        log = (results.trial(trial.id) / "log.txt").read_text()
        assert record.notes and all(line in log for line in record.notes)
    sweep, progress = driver(trials, results, strict=False)
    for trial in trials:
        sweep.on_end(trial.id, None, False)
    said = [line for line in progress.said if line.startswith("pixel cache")]
    about = [line.partition(": ")[0] for line in said]
    assert len(about) == len(set(about)) and set(about) <= {
        f"pixel cache off for blobs {place}" for place in ("disc/train", "disc/test", "ring/test", "box/test")
    }
    assert "pixel cache off for blobs disc/train" in about
    assert all("0.0238 MiB" in line for line in said), "25,000 bytes"
