"""The places that a sweep's metrics are sent to, one class each. Their packages are imported when a sweep starts to use them.

All calls come from one thread of a process of its own (`orchestrator.tracking.process`). Any exception ends the sink.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

from orchestrator.records import Results
from orchestrator.spec import PlannedTrial

TrackerName = Literal["tensorboard", "mlflow", "wandb"]
PROJECT = "robust-ft-bench"
MLFLOW_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""So that a server that does not answer is given up after half a minute (MLflow's own: 120 s, 7 times), and that nothing is
reported to anybody else; what the user has set stays."""
WANDB_TIMEOUT_S = 30
"""How long a run may take to open and, at its end, to send what is left."""


class Sink(Protocol):
    """One output. A trial may end without having been started: it failed because of another."""

    def start(self, trial: PlannedTrial) -> None:
        """A trial starts, or starts again on another worker."""

    def metrics(self, trial: PlannedTrial, step: int, values: Mapping[str, float]) -> None:
        """Metrics of a running trial after `step` optimiser steps."""

    def end(self, trial: PlannedTrial, step: int, values: Mapping[str, float], reason: str | None) -> None:
        """Results of a trial at the step that was selected (0: unknown), or the reason why it failed."""

    def close(self) -> None:
        """The sweep is over."""


class TensorBoard:
    """Event files in RESULTS/tensorboard/<trial id>."""

    def __init__(self, results: Results) -> None:
        self._make = importlib.import_module("tensorboardX").SummaryWriter
        self._root = results.root / "tensorboard"
        self._writers: dict[str, Any] = {}

    def start(self, trial: PlannedTrial) -> None:
        """Open its file."""
        if trial.id not in self._writers:
            writer = self._writers[trial.id] = self._make(logdir=str(self._root / trial.id))
            writer.add_text("trial", "\n".join(f"    {k}: {v}" for k, v in parameters(trial).items()))

    def metrics(self, trial: PlannedTrial, step: int, values: Mapping[str, float]) -> None:
        """A point of each curve."""
        self.start(trial)
        for name, value in values.items():
            self._writers[trial.id].add_scalar(f"train/{name}", value, step)

    def end(self, trial: PlannedTrial, step: int, values: Mapping[str, float], reason: str | None) -> None:
        """Results, or the reason as text."""
        self.start(trial)
        writer = self._writers.pop(trial.id)
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        if reason:
            writer.add_text("failed", reason)
        writer.close()

    def close(self) -> None:
        """Close what trials left that did not end."""
        for writer in self._writers.values():
            writer.close()


class MLflow:
    """A run for each trial, in an experiment for each benchmark.

    At $MLFLOW_TRACKING_URI, or in RESULTS/mlflow.db if that is not set.
    """

    def __init__(self, results: Results) -> None:
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(results.root / 'mlflow.db').absolute()}"
        for name, value in MLFLOW_DEFAULTS.items():
            os.environ.setdefault(name, value)
        self._entities = importlib.import_module("mlflow.entities")
        self._client = importlib.import_module("mlflow.tracking").MlflowClient(tracking_uri=uri)
        self._experiments: dict[str, str] = {}
        self._runs: dict[str, str] = {}

    def start(self, trial: PlannedTrial) -> None:
        """Open a run."""
        if trial.id in self._runs:
            return
        run = self._client.create_run(self._experiment(trial.benchmark), run_name=trial.id)
        self._runs[trial.id] = run.info.run_id
        given = [self._entities.Param(_plain(key), value[:500]) for key, value in parameters(trial).items()]
        self._client.log_batch(run.info.run_id, params=given)

    def metrics(self, trial: PlannedTrial, step: int, values: Mapping[str, float]) -> None:
        """A point of each curve."""
        self.start(trial)
        now = time.time_ns() // 1_000_000
        found = [self._entities.Metric(_plain(name), value, now, step) for name, value in values.items()]
        for first in range(0, len(found), 1000):  # the most that MLflow takes at once
            self._client.log_batch(self._runs[trial.id], metrics=found[first : first + 1000])

    def end(self, trial: PlannedTrial, step: int, values: Mapping[str, float], reason: str | None) -> None:
        """Results and the end of the run."""
        self.metrics(trial, step, values)
        run = self._runs.pop(trial.id)
        if reason:
            self._client.set_tag(run, "failed", reason[:5000])
        self._client.set_terminated(run, "FAILED" if reason else "FINISHED")

    def close(self) -> None:
        """End the runs of trials that did not end."""
        for run in self._runs.values():
            self._client.set_terminated(run, "KILLED")

    def _experiment(self, benchmark: str) -> str:
        if benchmark not in self._experiments:
            name = f"{PROJECT}/{benchmark}"
            known = self._client.get_experiment_by_name(name)
            self._experiments[benchmark] = known.experiment_id if known else self._client.create_experiment(name)
        return self._experiments[benchmark]


class WandB:
    """A run for each trial, in a group for each benchmark. Project, entity, key and mode: W&B's own variables and login."""

    def __init__(self, results: Results) -> None:
        self._wandb = importlib.import_module("wandb")
        # It would ask at the terminal, where the sweep's table is.
        local = os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun")
        if not local and not self._wandb.login(prompt=False):
            raise RuntimeError("not logged in: `wandb login`, WANDB_API_KEY, or WANDB_MODE=offline")
        self._results = results
        self._runs: dict[str, Any] = {}

    def start(self, trial: PlannedTrial) -> None:
        """Open a run."""
        if trial.id not in self._runs:
            self._results.root.mkdir(parents=True, exist_ok=True)
            self._runs[trial.id] = self._wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                group=trial.benchmark,
                name=trial.id,
                config=parameters(trial),
                dir=str(self._results.root),
                reinit="create_new",
                settings=self._wandb.Settings(
                    init_timeout=WANDB_TIMEOUT_S, finish_timeout=WANDB_TIMEOUT_S, silent=True, console="off"
                ),
            )

    def metrics(self, trial: PlannedTrial, step: int, values: Mapping[str, float]) -> None:
        """A point of each curve."""
        self.start(trial)
        self._runs[trial.id].log(dict(values), step=step)

    def end(self, trial: PlannedTrial, step: int, values: Mapping[str, float], reason: str | None) -> None:
        """Results as the run's summary, and its end."""
        self.start(trial)
        run = self._runs.pop(trial.id)
        run.summary.update({**values, **({"failed": reason} if reason else {"selected_step": step})})
        run.finish(exit_code=1 if reason else 0)

    def close(self) -> None:
        """End the runs of trials that did not end."""
        for run in self._runs.values():
            run.finish(exit_code=1)


SINKS: dict[TrackerName, Callable[[Results], Sink]] = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB}


def parameters(trial: PlannedTrial) -> dict[str, str]:
    """What a trial is, as flat text: names, settings and recipe."""
    spec = trial.spec
    found = {
        "benchmark": trial.benchmark,
        "label": trial.label,
        "of": trial.of or "",
        "model": trial.model,
        "sources": " + ".join(spec.data.sources),
        "seed": str(spec.seed),
        "method_version": str(spec.method_version),
        "selection": spec.selection or "",
    }
    recipe = spec.recipe.model_dump(mode="json") if spec.recipe else {}
    for part, values in (("settings", spec.settings), ("recipe", recipe)):
        found |= {f"{part}.{k}": v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}
    return {key: value for key, value in found.items() if value}


def _plain(name: str) -> str:
    """MLflow takes letters, digits and few signs in names."""
    return re.sub(r"[^\w\-. /:]", "_", name)
