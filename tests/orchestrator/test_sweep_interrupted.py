"""A driver that is told to stop loses nothing: the same command finishes the sweep, and leaves no process.

What a SIGKILL does stands in test_sweep_killed.py, with real trials.
"""

import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.records import Results, load_records
from tests.orchestrator.processes import MARK, marked, none_left, wait_for
from tests.orchestrator.ray_fakes import make_trial, runs

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux's /proc"),
]

ROOT = Path(__file__).resolve().parents[2]
SECONDS, COUNT = "1.5", 8
PATIENCE_S = 150.0

AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""After a SIGKILL these two try for a minute to tell Ray's dead head that the node is gone, then end. They hold no trial."""


def start(root: Path, mark: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.orchestrator.ray_fakes", str(root), SECONDS, str(COUNT)]
    environment = os.environ | {MARK: mark}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def recorded(results: Results) -> set[str]:
    loaded = load_records(results)
    assert not loaded.unreadable
    return set(loaded.records)


def stop_after_one_more(results: Results, mark: str, number: signal.Signals) -> tuple[subprocess.Popen[str], float]:
    """Start the driver, wait until it has recorded another trial, send the signal; returns the seconds it took to end."""
    before = len(recorded(results))
    driver = start(results.root, mark)
    wait_for(lambda: len(recorded(results)) > before, f"a record before {number.name}", PATIENCE_S)
    driver.send_signal(number)
    sent = time.monotonic()
    driver.wait(timeout=60)
    wait_for(lambda: not marked(mark, AGENTS), f"the end of all workers after {number.name}", 60)
    return driver, time.monotonic() - sent


def test_a_terminated_sweep_continues(tmp_path: Path):
    results, mark = Results(tmp_path), secrets.token_hex(8)
    trials = [make_trial("sleep", seed=seed, seconds=float(SECONDS)) for seed in range(COUNT)]
    with none_left(mark):
        driver, seconds = stop_after_one_more(results, mark, signal.SIGTERM)
        assert driver.returncode == 130
        assert seconds < 30
        done = recorded(results)
        assert 1 <= len(done) < COUNT
        finished = {trial.id: len(runs(results, trial)) for trial in trials if trial.id in done}
        driver = start(tmp_path, mark)
        output, _ = driver.communicate(timeout=PATIENCE_S)
        assert driver.returncode == 0, output
        wait_for(lambda: not marked(mark), "the end of all processes", 90)
    assert f"{COUNT - len(done)} trials to run, {len(done)} recorded before" in output
    assert recorded(results) == {trial.id for trial in trials}
    assert all(len(runs(results, trial)) == finished[trial.id] for trial in trials if trial.id in done)
    assert all(record.status == "completed" for record in load_records(results).records.values())
    assert [path.name for path in (tmp_path / ".ray").iterdir()] == ["lock"]
