"""Entry points for the pool that need neither data nor weights, and the trials they run. Importable in Ray workers.

What a fake does is told by its trial's settings, which are part of the spec and therefore of the id.
"""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

import datasets
from orchestrator.records import Evaluation, Results, TrialRecord, write_record
from orchestrator.spec import BenchmarkPlan, DataRef, Location, ModelRef, PlannedTrial, TrialSpec, trial_id
from training.runtime import Runtime

ENTRY = "tests.orchestrator.ray_fakes:act"


def make_trial(action: str, seed: int = 0, inputs: tuple[str, ...] = (), **settings: Any) -> PlannedTrial:
    """A trial whose 'method' is what `act` does."""
    spec = TrialSpec(
        method=action,
        settings=settings,
        data=DataRef(name="fake", identity="0" * 64, sources=("real",), targets=("real", "sketch")),
        model=ModelRef(name="none", weights="random:0"),
        recipe=None,
        seed=seed,
        inputs=inputs,
    )
    return PlannedTrial(
        id=trial_id(spec),
        spec=spec,
        location=Location(data="/nowhere", pretrained="none"),
        benchmark="fake",
        label=action,
        model="none",
        kind="trained",
    )


def make_plan(*trials: PlannedTrial) -> BenchmarkPlan:
    return BenchmarkPlan(
        benchmark="fake",
        manifest="/nowhere/benchmarks.yaml",
        dataset="fake",
        dataset_title="Fake",
        domains=("real", "sketch"),
        trials=trials,
    )


def act(trial: PlannedTrial, results: Results, runtime: Runtime, attempt: int) -> TrialRecord:
    """Do what the trial's method says, then record it. A line for every run of it goes to `runs.txt` in its folder."""
    started = datetime.now(UTC).isoformat()
    folder = results.trial(trial.id)
    folder.mkdir(parents=True, exist_ok=True)
    if runtime.is_main:
        with (folder / "runs.txt").open("a") as file:
            file.write(f"{os.getpid()} {attempt} {time.time()} {datasets.__file__} {torch.get_num_threads()}\n")
    ACTIONS[trial.spec.method](trial, results, runtime, attempt)
    record = TrialRecord(
        id=trial.id,
        spec=trial.spec,
        status="completed",
        evaluations=tuple(
            Evaluation(domain=domain, split="test", num_images=10, num_correct=5, accuracy=0.5, nll=1.0)
            for domain in trial.spec.data.targets
        ),
        num_attempts=attempt,
        started_at=started,
        finished_at=datetime.now(UTC).isoformat(),
    )
    if runtime.is_main:
        write_record(results, record)
        if trial.spec.method == "die_recorded":  # before anybody is told
            os.kill(os.getpid(), signal.SIGKILL)
    return record


def runs(results: Results, trial: PlannedTrial) -> list[list[str]]:
    """pid, attempt, time, datasets.__file__ and threads of every run of a trial."""
    path = results.trial(trial.id) / "runs.txt"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def _noop(trial: PlannedTrial, results: Results, runtime: Runtime, attempt: int) -> None:
    """Nothing."""


def _sleep(trial: PlannedTrial, results: Results, runtime: Runtime, attempt: int) -> None:
    steps = int(trial.spec.settings["seconds"] / 0.05)
    for step in range(1, steps + 1):
        time.sleep(0.05)
        runtime.report({"step": step, "num_steps": steps, "loss": 1 / step, "images_per_second": 20})


def _fail(trial: PlannedTrial, results: Results, runtime: Runtime, attempt: int) -> None:
    raise ValueError("the loss is NaN at step 7\nand a second line")


def _out_of_memory(trial: PlannedTrial, results: Results, runtime: Runtime, attempt: int) -> None:
    raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 TiB")


def _poison(trial: PlannedTrial, results: Results, runtime: Runtime, attempt: int) -> None:
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


def _die(trial: PlannedTrial, results: Results, runtime: Runtime, attempt: int) -> None:
    """Kill this process in each of the first `times` attempts."""
    time.sleep(0.2)
    if attempt <= trial.spec.settings["times"]:
        os.kill(os.getpid(), signal.SIGKILL)


def _sum_ranks(trial: PlannedTrial, results: Results, runtime: Runtime, attempt: int) -> None:
    gathered = runtime.all_gather(torch.tensor([runtime.rank]))
    if runtime.is_main:
        (results.trial(trial.id) / "ranks.txt").write_text(str(gathered.tolist()))


def _fail_on_rank_1(trial: PlannedTrial, results: Results, runtime: Runtime, attempt: int) -> None:
    if runtime.rank == 1:
        raise ValueError("only rank 1 saw this")
    runtime.all_gather(torch.tensor([runtime.rank]))


def _train(trial: PlannedTrial, results: Results, runtime: Runtime, attempt: int) -> None:
    """Steps of a small transformer, as the demo's model takes them, for measuring."""
    torch.manual_seed(trial.spec.seed)
    layer = torch.nn.TransformerEncoderLayer(128, 4, 512, batch_first=True)
    model = torch.nn.TransformerEncoder(layer, 4)
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    images = torch.randn(64, 65, 128)
    for _ in range(trial.spec.settings["steps"]):
        loss = functional.mse_loss(model(images), images)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


ACTIONS = {
    "noop": _noop,
    "sleep": _sleep,
    "fail": _fail,
    "out_of_memory": _out_of_memory,
    "poison": _poison,
    "die": _die,
    "die_recorded": _noop,
    "sum_ranks": _sum_ranks,
    "fail_on_rank_1": _fail_on_rank_1,
    "train": _train,
}


def main(root: str, seconds: str, count: str) -> None:
    """A driver of its own: `python -m tests.orchestrator.ray_fakes RESULTS SECONDS COUNT` runs COUNT sleeps."""
    from orchestrator.sweeps.sweep import SweepOptions, run_sweep

    trials = [make_trial("sleep", seed=seed, seconds=float(seconds)) for seed in range(int(count))]
    try:
        summary = run_sweep([make_plan(*trials)], Results(Path(root)), SweepOptions(slots=2), entry=ENTRY)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    raise SystemExit(1 if summary.failed else 0)


if __name__ == "__main__":
    import sys

    main(*sys.argv[1:])
