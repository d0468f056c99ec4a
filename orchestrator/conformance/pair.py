"""Two gloo workers against one: the same global batch, shared."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from datasets.shards import open_prepared
from methods.base import PostHoc
from orchestrator.conformance.bench import STEADY, Bench
from orchestrator.conformance.candidate import Candidate, Ground, Subject, feed, logits, require
from orchestrator.conformance.tiny import load_tiny_clip
from training.checkpoint import load_tensors, save_tensors
from training.runtime import Runtime
from training.types import StateDict

TIMEOUT = timedelta(seconds=60)
"""for a worker that waits in vain"""


class Pair:
    """Two processes that run methods one after another: starting them is what takes the time, so start them early."""

    def __init__(self, subjects: Sequence[Subject], ground: Ground) -> None:
        self.folder = ground.folder / f"pair-{os.getpid()}-{len(subjects)}"
        self.folder.mkdir(exist_ok=True)
        tensors = {f"{id}/{key}": v for id, state in ground.finetuned.items() for key, v in state.items()}
        save_tensors(self.folder / "finetuned.safetensors", tensors)
        context = mp.get_context("spawn")
        args = (str(self.folder), str(ground.config), ground.prepared.root, list(subjects))
        self.workers = [context.Process(target=_work, args=(rank, *args), daemon=True) for rank in (0, 1)]
        for worker in self.workers:
            worker.start()

    def wait(self) -> None:
        """Until both have ended. What went wrong is told by `compare`, method by method."""
        for worker in self.workers:
            worker.join(timeout=300)
        self.stop()

    def stop(self) -> None:
        """End them, whatever they do."""
        for worker in self.workers:
            if worker.is_alive():
                worker.kill()
            worker.join()

    def compare(self, candidate: Candidate) -> None:
        """Raise ConformanceError unless two workers gave what one gives, to 1e-5."""
        path = self.folder / f"{candidate.subject.name}.safetensors"
        if not path.exists():
            errors = [file.read_text() for file in sorted(self.folder.glob("error-*"))]
            reason = f"two workers fail: {errors[0]}" if errors else "the two workers died"
            require(False, reason, "all workers must take the same path; gather what they share with task.runtime")
        two, meta = load_tensors(path)
        todo = "couple images over workers with task.runtime, and draw what is random alike on every worker"
        if issubclass(candidate.subject.load(), PostHoc):
            for name, value in candidate.first[2].items():
                close = name in two and torch.allclose(two[name], value, rtol=1e-5, atol=1e-4)
                require(close, f"{name!r} gives other logits on two workers", todo)
            return
        one = candidate.fit("one", recipe=STEADY).run()
        differences = torch.cat([(one.weights[key] - two[key]).flatten() for key in two])
        largest = differences.abs().max().item()
        require(largest < 1e-5, f"weights differ by {largest:.1e}", todo)
        require(abs(differences.mean().item()) < 1e-7, f"weights differ by {differences.mean():.1e} in the mean", todo)
        trace = [[score.step, score.accuracy, score.nll] for score in one.trace]
        alike = all(a[:2] == b[:2] and abs(a[2] - b[2]) < 1e-4 for a, b in zip(trace, meta["trace"], strict=True))
        require(alike, f"scores are {meta['trace']} on two workers, {trace} on one", todo)


def _work(rank: int, folder: str, config: str, data: str, subjects: list[Subject]) -> None:
    """One of the two; importable, since a spawned process finds what it runs by name."""
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)  # the first process has said it
    out = Path(folder)
    dist.init_process_group("gloo", init_method=f"file://{out / 'store'}", rank=rank, world_size=2, timeout=TIMEOUT)
    bench = Bench(load_tiny_clip(Path(config)), open_prepared(data), Runtime(rank=rank, world_size=2))
    tensors, _ = load_tensors(out / "finetuned.safetensors")
    finetuned: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        id, name = key.split("/", 1)
        finetuned.setdefault(id, {})[name] = value
    for subject in subjects:
        try:
            results, trace = _run(subject, bench, finetuned, out / f"{subject.name}-{rank}")
        except (Exception, SystemExit) as error:  # the other worker may be waiting: end, so that it ends too
            text = " ".join("".join(traceback.format_exception_only(error)).split())
            (out / f"error-{rank}").write_text(f"{subject.name}: {text}")
            os._exit(1)
        if rank == 0:
            save_tensors(out / f"{subject.name}.safetensors", results, {"trace": trace})
    dist.barrier()
    dist.destroy_process_group()


def _run(
    subject: Subject, bench: Bench, finetuned: dict[str, dict[str, torch.Tensor]], folder: Path
) -> tuple[StateDict, list[list[float]]]:
    method = subject.make()
    if isinstance(method, PostHoc):
        chosen = {id: finetuned[id] for id in feed(method, finetuned)}
        return logits(bench, list(method.derive(bench.post_hoc_inputs(chosen)))), []
    result = bench.fit(method, folder, STEADY).run()
    return result.weights, [[score.step, score.accuracy, score.nll] for score in result.trace]
