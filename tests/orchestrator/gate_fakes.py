"""What tests of the zero-shot gate share: a sweep in this process, a table of values, trials that have some."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

import orchestrator.sweeps.run
from datasets.shards import Prepared
from orchestrator.planning import gate
from orchestrator.records import Results
from orchestrator.spec import PlannedTrial, PublishedValue
from orchestrator.sweeps.driver import Driver
from orchestrator.sweeps.searcher import Graph
from orchestrator.sweeps.sweep import SweepSummary
from orchestrator.trials.trial import run_trial
from tests.orchestrator.trials import planned
from training.runtime import Runtime

DOMAINS = ("disc", "box", "ring")


class LocalSweep:
    """Stands in for the sweep: runs trials that are not done, in this process, in the order that the real one gives them."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def __call__(
        self, plans: Any, results: Results, options: Any, *, console: Any = None, observers: Any = ()
    ) -> SweepSummary:
        trials = {t.id: t for plan in plans for t in plan.trials if not results.record(t.id).exists()}
        ended = {t.id: None for plan in plans for t in plan.trials if t.id not in trials}
        driver: Any = Driver(ended, results, None, Progress(), results.root, Quiet(), options.strict)  # type: ignore[arg-type]
        driver._pool = Quiet()
        driver._trials = trials
        driver._graph = Graph([*trials.values()], ended, gate.waits([*trials.values()], options.strict))
        count = 0
        while (id := driver._graph.next()) is not None or driver._short:
            if id is not None:
                self.ran.append(run_trial(trials[id], results, Runtime(), attempt=1).spec.method)
                driver.on_end(id, None, False)
                count += 1
            driver.on_tick()
        return SweepSummary(len(ended), count, 0, 1.0)


class Progress:
    """Keeps what the sweep says."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.board = Quiet()

    def say(self, line: str, style: str = "") -> None:
        self.said.append(line)

    def end(self, *_: object) -> None: ...

    def beat(self, *_: object) -> None: ...


class Quiet:
    """A pool, a board and signals with nothing to tell."""

    broken: ClassVar[dict[int, str]] = {}
    running = True

    def check(self) -> None: ...

    def end_silent(self) -> list[tuple[str, float]]:
        return []


@pytest.fixture
def sweep(monkeypatch: pytest.MonkeyPatch) -> LocalSweep:
    local = LocalSweep()
    monkeypatch.setattr(orchestrator.sweeps.run, "run_sweep", local)
    return local


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blobs: Prepared) -> Callable[..., None]:
    """Writes a table of published values for the tiny model on the tiny dataset; `accuracies` in percent."""
    monkeypatch.setattr(gate, "FOLDER", tmp_path / "published")
    monkeypatch.setattr(gate, "TEMPLATES", {"blobs": blobs.templates})

    def write(accuracies: dict[str, float | str], **changes: str) -> None:
        gate.published.cache_clear()
        fixed = {
            **{"method": "zero_shot", "dataset": "blobs", "backbone": "tiny_clip", "weights": "tag:x random:0"},
            **{"templates": "blobs", "class_names": "as_published", "preprocessing": "lipsum", "num_images": "12"},
            **{"source": "Nobody et al., Table 1", "note": ""},
        }
        gate.FOLDER.mkdir(exist_ok=True)
        with (gate.FOLDER / "values.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, gate.COLUMNS)
            writer.writeheader()
            writer.writerows(
                {**fixed, "domain": domain, "accuracy": value, **changes} for domain, value in accuracies.items()
            )

    return write


def driver(trials: list[PlannedTrial], results: Results, strict: bool) -> tuple[Any, Progress]:
    progress = Progress()
    made: Any = Driver({}, results, Quiet(), progress, results.root, Quiet(), strict)  # type: ignore[arg-type]
    made._trials, made._graph = {t.id: t for t in trials}, Graph(trials, {}, gate.waits(trials, strict))
    return made, progress


def gated(blobs: Prepared, config: Path) -> list[PlannedTrial]:
    zero = planned(blobs, config, "zero_shot")
    value = PublishedValue(domain="disc", accuracy=0.5, source="x")
    return [planned(blobs, config, "ft"), zero.model_copy(update={"expected": (value,)})]
