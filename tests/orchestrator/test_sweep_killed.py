"""Real trials, a driver killed in their midst, the same command again: every trial once, and the numbers of a calm run."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from datasets.shards import Prepared
from orchestrator.manifest.read import load_manifest
from orchestrator.planning.plan import make_plans
from orchestrator.records import Results, TrialRecord, load_records
from orchestrator.trials.trial import run_trial
from tests.conftest import ROOT
from tests.orchestrator.processes import MARK, marked, none_left, wait_for
from tests.orchestrator.small_benchmark import write_manifest
from tests.orchestrator.test_sweep_interrupted import AGENTS
from training.runtime import Runtime

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux's /proc"),
]

PATIENCE_S = 180.0


def drive(manifest: Path, mark: str) -> subprocess.Popen[str]:
    """A sweep whose cache of pixels has room for nothing."""
    command = [sys.executable, "-m", "orchestrator", "run", str(manifest), "blobs", "--slots", "2"]
    command += ["--cache-gib", "0.000001"]
    node = str(manifest.with_name("node"))
    environment = os.environ | {MARK: mark, "COLUMNS": "400", "ROBUST_FT_BENCH_CACHE": node}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def numbers(record: TrialRecord) -> object:
    return record.status, record.evaluations, record.trace, record.selected_step


def test_a_killed_sweep_ends_with_the_numbers_of_an_undisturbed_one(
    tmp_path: Path, blobs: Prepared, tiny_config: Path
) -> None:
    manifest = write_manifest(tmp_path, blobs, tiny_config, seeds=[0, 1], steps=120)
    results, mark = Results(tmp_path / "results"), secrets.token_hex(8)
    with none_left(mark):
        driver = drive(manifest, mark)
        wait_for(lambda: bool(load_records(results).records), "a record before the kill", PATIENCE_S)
        wait_for(
            lambda: any(results.root.glob("trials/ft-*/checkpoint/checkpoint.safetensors")), "a checkpoint", PATIENCE_S
        )
        driver.send_signal(signal.SIGKILL)
        driver.wait(timeout=60)
        wait_for(lambda: not marked(mark, AGENTS), "the end of the workers", 60)
        before = load_records(results).records
        assert len(before) < 7
        driver = drive(manifest, mark)
        output, _ = driver.communicate(timeout=PATIENCE_S)
        assert driver.returncode == 0, output
    told = re.findall(r"pixel cache off for (.*?): it needs", output)
    assert any("disc/train" in what for what in told), output
    assert len(told) == len(set(told)), "said once, not once a trial or slot"
    after = load_records(results).records
    assert len(after) == 7
    assert all(after[id] == record for id, record in before.items())  # what was done is not run again

    calm = Results(tmp_path / "calm")
    (plan,) = make_plans(load_manifest(manifest), ["blobs"])
    for trial in plan.trials:
        assert numbers(run_trial(trial, calm, Runtime(), attempt=1)) == numbers(after[trial.id]), trial.id
