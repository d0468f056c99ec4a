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
import torch.distributed as dist
from torch.nn import functional

import datasets
import orchestrator.trials.trial  # noqa: F401 - as real entries do: imported later, it would delay how failures are told
from datasets.shards import open_prepared
from orchestrator.records import Evaluation, Results, TrialRecord, write_record
from orchestrator.spec import BenchmarkPlan, DataRef, Location, ModelRef, PlannedTrial, TrialSpec, trial_id
from training.runtime import Runtime

ENTRY = "tests.orchestrator.ray_fakes:act"
LAME_ENTRY = "tests.orchestrator.ray_fakes:not_on_rank_1"


def __getattr__(name: str) -> Any:
    """An entry that one worker of several cannot import."""
    if name == LAME_ENTRY.partition(":")[2]:
        if dist.get_rank() == 1:
            raise ImportError("libcudart.so.12 is missing on this node")
        return act
    raise AttributeError(name)


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


def _hang(trial: PlannedTrial, results: Results, runtime: Runtime, attempt: int) -> None:
    """Say nothing more in the first attempt."""
    while attempt == 1:
        time.sleep(0.1)


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


def _lose_rank_1(trial: PlannedTrial, results: Results, runtime: Runtime, attempt: int) -> None:
    """The first attempt loses a worker in the middle of steps that every worker takes."""
    for step in range(60):
        if attempt == 1 and runtime.rank == 1 and step == 30:
            os.kill(os.getpid(), signal.SIGKILL)
        runtime.all_gather(torch.tensor([runtime.rank]))


def _stream(trial: PlannedTrial, results: Results, runtime: Runtime, attempt: int) -> None:
    """This worker's part of some training batches, and of an evaluation pass, in a file of its own."""
    from tests.datasets.pixel_streams import parts

    prepared = open_prepared(trial.spec.settings["data"])
    found = parts(prepared, rank=runtime.rank, world_size=runtime.world_size)
    torch.save(found, results.trial(trial.id) / f"pixels-{runtime.rank}.pt")
    runtime.barrier()


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
    "hang": _hang,
    "fail": _fail,
    "out_of_memory": _out_of_memory,
    "poison": _poison,
    "die": _die,
    "die_recorded": _noop,
    "sum_ranks": _sum_ranks,
    "fail_on_rank_1": _fail_on_rank_1,
    "lose_rank_1": _lose_rank_1,
    "stream": _stream,
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
