"""Images a second of training: each method, and a bare PyTorch loop, on the same generated images.

    python -m perf.train_step                                  # the demo's model, on what this machine has
    python -m perf.train_step --model ViT-B-16 --batch 256     # random weights; a GPU takes bfloat16

One process runs all contestants in turn, several rounds, and prints medians and ratios: on a shared machine only the
ratios mean something.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

import methods
from methods.base import Method
from orchestrator.manifest.read import load_manifest
from training.config import Recipe
from training.evaluate import Normalise, autocast
from training.fit import Fit
from training.model import ImageClassifier, PretrainedClip, load_clip
from training.runtime import Runtime
from training.types import RawBatch, Task

ROOT = Path(__file__).parents[1]
ASSETS = ROOT / "datasets/demo_assets"
DEMO = "demo"
"""the benchmark whose methods are taken when none is named"""
CLASSES = tuple(f"thing {i}" for i in range(100))
CAPTION = "a photo of a thing on a wooden table beside a window"


class Generated:
    """The same random batches again and again, from the host's memory, so that decoding has no part in it."""

    def __init__(self, batch: int, size: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.made = [
            RawBatch(
                torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8, generator=generator),
                torch.randint(0, len(CLASSES), (batch,), generator=generator),
                (),
                (CAPTION,) * batch,
            )
            for _ in range(4)
        ]

    def batches(self, start: int, stop: int) -> Iterator[RawBatch]:
        """Batches by number."""
        for step in range(start, stop):
            yield self.made[step % len(self.made)]


class Contest:
    """The contestants over one model, batch and device."""

    def __init__(self, clip: PretrainedClip, batch: int, steps: int, device: torch.device) -> None:
        self.clip, self.device, self.steps = clip, device, steps
        self.recipe = Recipe(num_steps=steps, global_batch_size=batch, eval_every=steps)
        self.stream = Generated(batch, clip.image_size)
        self.normalise = Normalise(clip.mean, clip.std, device)
        self.text = clip.text.to(device)
        self.head = self.text.zero_shot_head(CLASSES, ["a photo of a {}."])

    def model(self) -> ImageClassifier:
        """A fresh classifier."""
        return self.clip.classifier(self.head, self.device)

    def bare(self) -> None:
        """Cross-entropy, backward, Adam: what any training step must at least do."""
        model = self.model().train()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-5, fused=self.device.type == "cuda")
        for raw in self.stream.batches(0, self.steps):
            batch = self.normalise(raw)
            with autocast(self.device):
                loss = F.cross_entropy(model(batch.images), batch.labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        loss.item()

    def method(self, name: str, settings: Mapping[str, Any] | None = None) -> None:
        """The project's own loop with a method; selection is the last step, unscored."""
        found = methods.load(name)
        if not issubclass(found, Method):
            raise SystemExit(f"{name} is not a trained method")
        task = Task(
            classnames=CLASSES,
            templates=("a photo of a {}.", "a drawing of a {}."),
            text=self.text,
            num_steps=self.steps,
            seed=0,
            images=lambda split: map(self.normalise, Generated.batches(self.stream, 0, 2)),
            captions=lambda: (CAPTION,),
        )
        with tempfile.TemporaryDirectory() as folder:
            Fit(
                method=found(found.Config.model_validate(dict(settings or {}))),
                model=self.model(),
                task=task,
                stream=self.stream,
                recipe=self.recipe,
                selection="last",
                normalise=self.normalise,
                score=lambda model: (0.0, 0.0),
                runtime=Runtime(device=self.device, threads=torch.get_num_threads()),
                folder=Path(folder),
                metrics=Path(folder) / "metrics.jsonl",
            ).run()


def demo_methods() -> list[str]:
    """The methods that train in the manifest's demo, in its order."""
    (demo,) = load_manifest(ROOT / "benchmarks.yaml").select([DEMO])
    return list(dict.fromkeys(use.method for use in demo.methods if use.kind == "trained"))


def timed(run: Callable[[], None], device: torch.device) -> tuple[float, float]:
    """(seconds, peak GPU memory in GiB) of a run."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    started = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - started
    return seconds, torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo_vit", help="open_clip architecture (default: the demo's)")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=50, help="steps of a run, the first few of which warm up")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--methods", nargs="*", default=demo_methods(), help="default: what the demo trains")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    device = torch.device(options.device, 0) if options.device == "cuda" else torch.device(options.device)
    config = ASSETS / "demo_vit.json" if options.model == "demo_vit" else None
    clip = load_clip(options.model, "random:0", config)
    contest = Contest(clip, options.batch, options.steps, device)
    runs: dict[str, Callable[[], None]] = {"bare loop": contest.bare}
    runs |= {name: lambda name=name: contest.method(name) for name in options.methods}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    memory: dict[str, float] = {}
    for _ in range(options.rounds + 1):  # the first round warms up and is not counted
        for name, run in runs.items():
            took, memory[name] = timed(run, device)
            seconds[name].append(took)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{options.model}, batch {options.batch}, {options.steps} steps, {options.rounds} rounds")
    print(f"{where}, torch {torch.__version__}")
    base = statistics.median(seconds["bare loop"][1:])
    for name, took in seconds.items():
        median = statistics.median(took[1:])
        rate = options.batch * options.steps / median
        print(f"{name:>12}: {rate:10.1f} images/s  {median / base:5.2f}x the bare loop's time  {memory[name]:6.2f} GiB")


if __name__ == "__main__":
    main()
