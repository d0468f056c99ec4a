"""Seconds a training step of every trained method, relative to a baseline, on the same generated images.

    python -m perf.method_cost                                  # the demo's model, on what this machine has
    python -m perf.method_cost --model ViT-B-16 --batch 256     # random weights; a GPU takes bfloat16

All methods run in turn, several rounds; a step is the time from one batch to the next, its median over the rounds' steps.
So neither `setup` nor evaluation counts. A GPU's time is the wall's; on a CPU it is the process' own CPU time on one
thread, which others on the machine hardly touch. Methods are named as `NAME` or `NAME:{"setting": value}`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator

import torch

import methods
from methods.base import Method
from perf.train_step import ASSETS, Contest, Generated, demo_methods
from training.model import load_clip
from training.types import RawBatch

WARM_UP = 3
"""steps of a run that are not counted"""


class Clocked(Generated):
    """Notes when each batch is asked for, which is when the step before is done."""

    def __init__(self, batch: int, size: int, device: torch.device) -> None:
        super().__init__(batch, size)
        self.device = device
        self.times: list[float] = []

    def batches(self, start: int, stop: int) -> Iterator[RawBatch]:
        """Batches by number."""
        for raw in super().batches(start, stop):
            self._tick()
            yield raw
        self._tick()

    def _tick(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.times.append(time.perf_counter() if self.device.type == "cuda" else time.process_time())

    def steps(self) -> list[float]:
        """Seconds of the steps since the last call."""
        took = [after - before for before, after in zip(self.times, self.times[1:], strict=False)]
        self.times = []
        return took[WARM_UP:]


def trained(name: str) -> bool:
    """Whether a method trains; some do without steps."""
    found = methods.load(name)
    return issubclass(found, Method) and found.trains


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo_vit", help="open_clip architecture (default: the demo's)")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10, help=f"steps of a run; the first {WARM_UP} are not counted")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--methods", nargs="*", help="default: all that train")
    parser.add_argument(
        "--baseline", default=demo_methods()[0], help="default: the first that the demo trains (%(default)s)"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    if options.steps <= WARM_UP:
        parser.error(
            f"--steps {options.steps}: more than {WARM_UP} are needed, since the first {WARM_UP} are not counted"
        )
    device = torch.device(options.device, 0) if options.device == "cuda" else torch.device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    clip = load_clip(options.model, "random:0", ASSETS / "demo_vit.json" if options.model == "demo_vit" else None)
    contest = Contest(clip, options.batch, options.steps, device)
    contest.stream = clock = Clocked(options.batch, clip.image_size, device)
    chosen = options.methods or [name for name in sorted(methods.available()) if trained(name)]
    chosen = [options.baseline, *[name for name in chosen if name != options.baseline]]
    seconds: dict[str, list[float]] = {name: [] for name in chosen}
    memory: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for _ in range(options.rounds):
        for name in chosen:
            if name in left_out:
                continue
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            method, _, settings = name.partition(":")
            try:
                contest.method(method, json.loads(settings or "{}"))
            except ValueError as error:  # what it needs is not here: a pool of pairs, a larger model
                left_out[name] = str(error).splitlines()[0]
            seconds[name] += clock.steps()
            if not seconds[name]:
                left_out.setdefault(name, "it takes no step")
            memory[name] = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU, one thread, CPU time"
    print(f"{options.model}, batch {options.batch}, {options.rounds} rounds of {options.steps} steps")
    print(f"{where}, torch {torch.__version__}")
    if options.baseline in left_out:
        raise SystemExit(f"the baseline {options.baseline} is left out: {left_out[options.baseline]}")
    base = statistics.median(seconds[options.baseline])
    for name, took in seconds.items():
        if name in left_out:
            print(f"{name:>20}: left out: {left_out[name]}")
            continue
        median = statistics.median(took)
        gpu = f"  {memory[name]:6.2f} GiB" if device.type == "cuda" else ""
        print(f"{name:>20}: {median * 1000:9.2f} ms/step  {median / base:5.2f}x {options.baseline}{gpu}")


if __name__ == "__main__":
    main()
