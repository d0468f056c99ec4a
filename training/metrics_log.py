"""What a run writes and tells while it trains: metrics.jsonl, a line now and then, and a report about once a second."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

from training.config import Recipe
from training.runtime import Runtime
from training.types import Losses

LINES = 200
"""Lines with the losses of a step in a whole run, about."""


class MetricsLog:
    """The file of metrics; only rank 0 writes."""

    def __init__(self, path: Path, runtime: Runtime) -> None:
        self.path, self.runtime = path, runtime

    def open(self, step: int) -> None:
        """Drop the lines of steps after `step`, that of the checkpoint: they will be written again."""
        if self.runtime.is_main:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            rows = self.path.read_text().splitlines() if self.path.exists() and step else []
            kept = [row for row in rows if _step_of(row) <= step]
            self.path.write_text("".join(f"{row}\n" for row in kept))

    def write(self, row: dict[str, float]) -> None:
        """Append a line; a value that is not finite, for which JSON has no number, as null."""
        if self.runtime.is_main:
            values = {name: value if math.isfinite(value) else None for name, value in row.items()}
            with self.path.open("a") as file:
                file.write(json.dumps(values, allow_nan=False) + "\n")


class Progress:
    """Writes every loss term about LINES times a run, and reports about once a second."""

    def __init__(self, log: MetricsLog, runtime: Runtime, recipe: Recipe, first: int) -> None:
        """`first`: steps done before this process took the run up."""
        self.log, self.runtime, self.recipe, self.first = log, runtime, recipe, first
        self.every = max(1, math.ceil(recipe.num_steps / LINES))
        self.started = time.monotonic()
        self.reported = 0.0

    def update(self, step: int, losses: Losses, lr: float) -> None:
        """A step is done; `step` counts from 1."""
        if step % self.every == 0:
            self.log.write({"step": step, "lr": lr, **{name: value.item() for name, value in losses.items()}})
        now = time.monotonic()
        if self.runtime.is_main and now - self.reported > 1.0:
            rate = (step - self.first) * self.recipe.global_batch_size / (now - self.started)
            loss = losses["loss"].item()
            self.runtime.report(
                {"step": step, "num_steps": self.recipe.num_steps, "loss": loss, "images_per_second": rate}
            )
            self.reported = now


def _step_of(row: str) -> float:
    """Step of a metrics line; a line torn by a crash sorts last and is dropped."""
    try:
        return float(json.loads(row)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
