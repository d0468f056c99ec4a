"""A training run on the tiny dataset and the tiny CLIP, as the contract of methods has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import methods
from methods.base import Method
from orchestrator.conformance import bench
from orchestrator.conformance.bench import RECIPE, Killed, kill_at
from training.fit import FitResult

__all__ = ["RECIPE", "Bench", "Killed", "kill_at", "make_method"]


def make_method(name: str, settings: dict[str, Any] | None = None) -> Method:
    """A trained method by name, with complete settings."""
    found = methods.load(name)
    assert issubclass(found, Method)
    return found(found.Config.model_validate(settings or {}))


class Bench(bench.Bench):
    """The same, with a run by a method's name."""

    def run(self, name: str, folder: Path, settings: dict[str, Any] | None = None, **options: Any) -> FitResult:
        """Train a method from start to end."""
        return self.fit(make_method(name, settings), folder, **options).run()
