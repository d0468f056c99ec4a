"""The pool on a local Ray: one session, few sweeps, many assertions on each."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console

from datasets.shards import Prepared
from orchestrator.records import Results, TrialRecord, read_record
from orchestrator.spec import PlannedTrial
from orchestrator.sweeps.driver import SweepError, SweepRefusedError
from orchestrator.sweeps.sweep import SweepOptions, SweepSummary, run_sweep
from tests.datasets.pixel_streams import parts, together
from tests.orchestrator.processes import wait_for
from tests.orchestrator.ray_fakes import ENTRY, LAME_ENTRY, make_plan, make_trial, runs

pytestmark = pytest.mark.ray

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Swept:
    trials: dict[str, PlannedTrial]
    results: Results
    summary: SweepSummary
    lines: list[str]

    def record(self, name: str) -> TrialRecord:
        return read_record(self.results.record(self.trials[name].id))

    def runs(self, name: str) -> list[list[str]]:
        return runs(self.results, self.trials[name])

    def line(self, name: str) -> str:
        return next(line for line in self.lines if f"] {self.trials[name].id} " in line)


def sweep(results: Results, trials: dict[str, PlannedTrial], options: SweepOptions) -> Swept:
    out = StringIO()
    console = Console(file=out, width=200)
    summary = run_sweep([make_plan(*trials.values())], results, options, entry=ENTRY, console=console)
    return Swept(trials, results, summary, out.getvalue().splitlines())


@pytest.fixture(scope="module")
def ray_session() -> Iterator[None]:
    from orchestrator.sweeps import cluster

    with cluster.session(dashboard=False):
        yield


@pytest.fixture(scope="module")
def swept(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """Two slots and a trial for everything that can happen."""
    trials = {
        "input": make_trial("noop"),
        "die": make_trial("die", times=1),
        "fatal": make_trial("die", times=9),
        "recorded": make_trial("die_recorded"),
        "fail": make_trial("fail"),
        "memory": make_trial("out_of_memory"),
        "poison": make_trial("poison"),
        "sleep": make_trial("sleep", seconds=2),
    }
    trials["child"] = make_trial("noop", seed=1, inputs=(trials["input"].id, trials["sleep"].id))
    trials["orphan"] = make_trial("noop", seed=2, inputs=(trials["input"].id, trials["fail"].id))
    trials["grandchild"] = make_trial("noop", seed=3, inputs=(trials["orphan"].id,))
    results = Results(tmp_path_factory.mktemp("swept"))
    return sweep(results, trials, SweepOptions(slots=2, max_attempts=2))


def test_the_summary_counts_every_trial(swept: Swept):
    assert (swept.summary.done_before, swept.summary.completed, swept.summary.failed) == (0, 5, 6)
    completed = {name for name in swept.trials if swept.record(name).status == "completed"}
    assert completed == {"input", "die", "recorded", "sleep", "child"}


def test_a_trial_starts_after_its_inputs(swept: Swept):
    (_, _, started, *_), *_ = swept.runs("child")
    for name in ("input", "sleep"):
        assert swept.results.record(swept.trials[name].id).stat().st_mtime < float(started)


def test_workers_import_the_project_s_own_datasets(swept: Swept):
    assert swept.runs("input")[0][3] == str(ROOT / "datasets" / "__init__.py")


def test_workers_use_the_threads_of_their_slot(swept: Swept):
    assert {run[4] for name in ("input", "child", "sleep") for run in swept.runs(name)} == {"1"}


def test_a_lost_worker_s_trial_is_run_again(swept: Swept):
    assert [run[1] for run in swept.runs("die")] == ["1", "2"]
    assert swept.record("die").num_attempts == 2
    assert any("attempt 2 starts" in line for line in swept.lines)


def test_a_trial_that_always_kills_its_worker_is_given_up(swept: Swept):
    assert [run[1] for run in swept.runs("fatal")] == ["1", "2"]
    error = swept.record("fatal").error
    assert error is not None
    assert (error.failure_class, error.message) == ("transient", "worker lost 2 times")
    assert "FAILED" in swept.line("fatal")


def test_a_worker_lost_after_its_record_was_written_is_not_run_again(swept: Swept):
    assert [run[1] for run in swept.runs("recorded")] == ["1"]
    assert swept.record("recorded").num_attempts == 1


@pytest.mark.parametrize(
    ("name", "kind", "type_", "message"),
    [
        ("fail", "permanent", "ValueError", "the loss is NaN at step 7"),
        ("memory", "resource", "OutOfMemoryError", "CUDA out of memory"),
        ("poison", "permanent", "RuntimeError", "CUDA error: an illegal memory access"),
    ],
)
def test_exceptions_are_recorded_with_their_class(swept: Swept, name: str, kind: str, type_: str, message: str):
    error = swept.record(name).error
    assert error is not None
    assert (error.failure_class, error.type) == (kind, type_)
    assert error.message.startswith(message)
    assert "ray_fakes.py" in error.traceback
    assert len(swept.runs(name)) == 1, "what would fail again is not run again"
    assert f"{kind}: {type_}: {message}" in swept.line(name)


def test_an_exception_keeps_the_slot_and_a_poisoned_process_is_replaced(swept: Swept):
    later = [run for name in swept.trials for run in swept.runs(name)]
    for name, kept in (("fail", True), ("memory", True), ("poison", False)):
        ((pid, _, at, *_),) = swept.runs(name)
        assert any(run[0] == pid and float(run[2]) > float(at) for run in later) == kept, name


def test_dependants_of_a_failed_trial_fail_with_its_reason(swept: Swept):
    for name, text in (
        ("orphan", f"input {swept.trials['fail'].id} failed: permanent: ValueError: the loss is NaN"),
        ("grandchild", f"input {swept.trials['orphan'].id} failed"),
    ):
        error = swept.record(name).error
        assert error is not None
        assert error.failure_class == "dependency"
        assert text in error.message
        assert swept.runs(name) == []


def test_nothing_of_ray_stays_in_the_results(swept: Swept):
    assert sorted(path.name for path in (swept.results.root / ".ray").iterdir()) == ["lock"]
    assert sorted(path.name for path in swept.results.root.iterdir()) == [".ray", "trials"]


def test_failed_trials_are_left_alone_on_request(swept: Swept):
    again = sweep(swept.results, swept.trials, SweepOptions(slots=2, retry_failed=False))
    assert (again.summary.done_before, again.summary.completed, again.summary.failed) == (5, 0, 6)
    assert again.lines == []


def test_a_new_seed_runs_alone_and_recycling_gives_fresh_processes(swept: Swept):
    trials = {f"seed{seed}": make_trial("noop", seed=seed) for seed in (0, 10, 11)}
    added = sweep(swept.results, trials, SweepOptions(slots=1, recycle_after=1))
    assert (added.summary.done_before, added.summary.completed, added.summary.failed) == (1, 2, 0)
    assert len(runs(swept.results, trials["seed0"])) == 1
    (first, *_), (second, *_) = added.runs("seed10")[0], added.runs("seed11")[0]
    assert first != second


def test_ctrl_c_closes_the_pool_and_nothing_is_recorded_for_what_ran(swept: Swept, tmp_path: Path):
    results, trial = Results(tmp_path), make_trial("sleep", seconds=600)

    def press() -> None:
        wait_for(lambda: bool(runs(results, trial)), "the trial's start", 200)
        os.kill(os.getpid(), signal.SIGINT)

    # A runner that put this process into the background has made it ignore SIGINT, which a sweep would respect.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=press)
    thread.start()
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            sweep(results, {"long": trial}, SweepOptions(slots=1))
    finally:
        signal.signal(signal.SIGINT, before)
    ((_, _, started, *_),) = runs(results, trial)
    assert time.time() - float(started) < 30, f"of {time.monotonic() - began:.0f} s"
    assert not results.record(trial.id).exists()
    thread.join()


def test_a_silent_trial_is_ended_and_run_again(ray_session: None, tmp_path: Path):
    trials = {"hang": make_trial("hang")}
    swept = sweep(Results(tmp_path), trials, SweepOptions(slots=1, silence_minutes=3 / 60))
    assert swept.summary.completed == 1
    assert [run[1] for run in swept.runs("hang")][:2] == ["1", "2"]
    line = next(line for line in swept.lines if "no sign of life since" in line)
    assert line.startswith(f"{trials['hang'].id}: ")


def test_a_group_of_two_workers(ray_session: None, tmp_path: Path, blobs: Prepared):
    trials = {
        "stream": make_trial("stream", data=blobs.root),
        "ranks": make_trial("sum_ranks"),
        "uneven": make_trial("fail_on_rank_1"),
        "lost": make_trial("lose_rank_1"),
        "after": make_trial("sum_ranks", 1),
    }
    result = sweep(Results(tmp_path), trials, SweepOptions(slots=1, workers_per_trial=2))
    assert (result.summary.completed, result.summary.failed) == (4, 1)
    folder = result.results.trial(trials["stream"].id)
    found = [torch.load(folder / f"pixels-{rank}.pt", weights_only=False) for rank in (0, 1)]
    assert [sum(len(batch.keys) for batch in train) for train, _ in found] == [36, 36]
    assert together(found) == together([parts(blobs)]), "the pixels of one worker"
    for name in ("ranks", "after"):
        folder = result.results.trial(trials[name].id)
        assert json.loads((folder / "ranks.txt").read_text()) == [0, 1]
    error = result.record("uneven").error
    assert error is not None
    assert error.message == "only rank 1 saw this"
    assert "only rank 1 saw this" in result.line("uneven")
    assert [run[1] for run in result.runs("uneven")] == ["1"]
    assert [run[1] for run in result.runs("lost")] == ["1", "2"], "a worker that sees the other one die has not failed"
    assert result.record("lost").num_attempts == 2


def test_a_pool_that_cannot_start_says_why(ray_session: None, tmp_path: Path):
    plan = make_plan(make_trial("noop"))
    with pytest.raises(SweepRefusedError, match="ask for 4 workers a trial as well"):
        run_sweep([plan], Results(tmp_path), SweepOptions(gpus_per_trial=4), entry=ENTRY)
    with pytest.raises(SweepError, match=r"slot 0 cannot start: ModuleNotFoundError: No module named 'nonsense'"):
        run_sweep([plan], Results(tmp_path), SweepOptions(slots=1), entry="nonsense:run")
    two = SweepOptions(slots=1, workers_per_trial=2)
    with pytest.raises(
        SweepError, match=r"slot 0 cannot start: worker 1 on \S+: ImportError: libcudart.so.12 is missing"
    ):
        run_sweep([plan], Results(tmp_path), two, entry=LAME_ENTRY)


def test_two_sweeps_into_the_same_results_are_refused(tmp_path: Path):
    import fcntl

    (tmp_path / ".ray").mkdir()
    with (tmp_path / ".ray" / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SweepRefusedError, match=f"another sweep is writing into {tmp_path}"):
            run_sweep([make_plan(make_trial("noop"))], Results(tmp_path), SweepOptions(), entry=ENTRY)
