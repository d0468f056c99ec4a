"""Each tracker gets what it should; what goes wrong with any of them is one line and nothing else.

MLflow and W&B are stand-ins here; `test_trackers_real.py` has the libraries themselves.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from tensorboardX.proto.event_pb2 import Event

from orchestrator.manifest.read import ManifestError, load_manifest
from orchestrator.records import Results, TrialRecord
from orchestrator.spec import PlannedTrial
from orchestrator.tracking.process import Call, forward
from orchestrator.tracking.sinks import TrackerName
from orchestrator.tracking.trackers import Tracking, final_values
from tests.conftest import ROOT
from tests.orchestrator.manifest_fixtures import BASE, folder, write
from tests.orchestrator.record_factory import Folder

__all__ = ["folder"]

METRICS = {"kind": "metrics", "metrics": {"step": 40, "num_steps": 150, "loss": 0.5, "images_per_second": 12.0}}
STARTED = {"kind": "started", "slot": 0, "attempt": 1}


def sample() -> tuple[PlannedTrial, TrialRecord, PlannedTrial]:
    """A trial that is completed with its record, and one that fails."""
    made = Folder()
    done, failed = made.trial("lipsum_ft", settings={"strength": 0.3}), made.trial("ft", seed=1)
    return done, made.done(done, (75, 45, 60, 42, 52)).model_copy(update={"selected_step": 100}), failed


class Calls(Tracking):
    """Keeps the calls that would go to the process."""

    def __init__(self) -> None:
        super().__init__([], Results(ROOT))
        self.kept: list[Call] = []

    def _put(self, call: Call) -> None:
        self.kept.append(call)


def send(names: Sequence[TrackerName], root: Path) -> list[str]:
    """A short sweep, sent by this process; what the user is told."""
    tracking, lines = Calls(), list[str]()
    assert play(tracking) == []
    forward(names, Results(root), tracking.kept, lines.append)
    return lines


def play(tracking: Tracking) -> list[str]:
    """A short sweep; what the user is told."""
    done, record, failed = sample()
    tracking.event(done, STARTED)
    tracking.event(done, METRICS)
    tracking.event(done, {"kind": "metrics", "metrics": {"shards_here": 1, "shards_needed": 3}})
    tracking.end(done, record, None)
    tracking.end(failed, None, "dependency: its input failed")
    lines = list(tracking.tick())
    return [*lines, *tracking.close()]


def events(folder: Path) -> list[Event]:
    """What an event file holds."""
    [path] = folder.iterdir()
    data, found, place = path.read_bytes(), [], 0
    while place < len(data):
        length = int.from_bytes(data[place : place + 8], "little")
        found.append(Event.FromString(data[place + 12 : place + 12 + length]))
        place += 16 + length
    return found


def test_tensorboard_gets_curves_and_results(tmp_path: Path) -> None:
    assert send(["tensorboard"], tmp_path) == []
    done, _, failed = sample()
    scalars = {
        (value.tag, event.step): value.simple_value
        for event in events(tmp_path / "tensorboard" / done.id)
        for value in event.summary.value
        if value.HasField("simple_value")
    }
    assert scalars["train/loss", 40] == 0.5
    assert scalars["accuracy/test/sketch", 100] == pytest.approx(0.52)
    assert "train/num_steps" not in {tag for tag, _ in scalars}
    texts = str([event.summary for event in events(tmp_path / "tensorboard" / failed.id)])
    assert "dependency: its input failed" in texts


def test_variants_have_values_of_their_own() -> None:
    made = Folder()
    record = made.done(made.trial("wise_ft"), {"alpha=0.5": (75, 45, 60, 42, 52)}, {"alpha=0.5": {"alpha": 0.5}})
    assert final_values(record)["alpha=0.5/accuracy/test/real"] == 0.75


class FakeMlflow:
    """As much of MLflow's client as is used; keeps what it gets."""

    def __init__(self, tracking_uri: str) -> None:
        self.uri, self.calls = tracking_uri, []
        FakeMlflow.last = self

    last: FakeMlflow

    def get_experiment_by_name(self, name: str) -> None:
        return None

    def create_experiment(self, name: str) -> str:
        self.calls.append(("experiment", name))
        return "7"

    def create_run(self, experiment: str, run_name: str) -> Any:
        self.calls.append(("run", experiment, run_name))
        return SimpleNamespace(info=SimpleNamespace(run_id=f"run of {run_name}"))

    def log_batch(self, run: str, metrics: Any = (), params: Any = ()) -> None:
        self.calls += [("metric", run, name, value, step) for name, value, _, step in metrics]
        self.calls += [("param", run, *param) for param in params]

    def set_tag(self, run: str, key: str, value: str) -> None:
        self.calls.append(("tag", run, key, value))

    def set_terminated(self, run: str, status: str) -> None:
        self.calls.append(("end", run, status))


def install(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    module = ModuleType(name)
    vars(module).update(members)
    monkeypatch.setitem(sys.modules, name, module)


def test_mlflow_gets_a_run_for_each_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    install(monkeypatch, "mlflow")
    install(monkeypatch, "mlflow.entities", Param=lambda *a: a, Metric=lambda *a: a)
    install(monkeypatch, "mlflow.tracking", MlflowClient=FakeMlflow)
    assert send(["mlflow"], tmp_path) == []
    done, _, failed = sample()
    fake, run = FakeMlflow.last, f"run of {done.id}"
    assert fake.uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert fake.calls.count(("experiment", "robust-ft-bench/demo")) == 1
    assert ("param", run, "settings.strength", "0.3") in fake.calls
    assert ("metric", run, "loss", 0.5, 40) in fake.calls
    assert ("metric", run, "accuracy/test/sketch", 0.52, 100) in fake.calls
    assert ("end", run, "FINISHED") in fake.calls
    assert ("tag", f"run of {failed.id}", "failed", "dependency: its input failed") in fake.calls
    assert fake.calls[-1] == ("end", f"run of {failed.id}", "FAILED")


class FakeRun:
    """A run of W&B's."""

    def __init__(self, **given: Any) -> None:
        self.given, self.logged, self.summary, self.exit_code = given, [], {}, None

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((step, values))

    def finish(self, exit_code: int) -> None:
        self.exit_code = exit_code


def test_wandb_gets_a_run_for_each_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    runs: list[FakeRun] = []
    install(monkeypatch, "wandb", init=lambda **given: runs.append(FakeRun(**given)) or runs[-1], Settings=dict)
    assert send(["wandb"], tmp_path) == []
    done, failed = runs
    assert (done.given["project"], done.given["group"], done.given["name"]) == (
        "robust-ft-bench",
        "demo",
        sample()[0].id,
    )
    assert done.logged == [(40, {"loss": 0.5, "images_per_second": 12.0})]
    assert done.summary["accuracy/test/sketch"] == 0.52 and done.summary["selected_step"] == 100
    assert (done.exit_code, failed.exit_code) == (0, 1)


def test_wandb_never_asks_for_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    install(monkeypatch, "wandb", login=lambda prompt: prompt)
    [line] = send(["wandb"], tmp_path)
    assert line.startswith("track: nothing more goes to wandb: RuntimeError: not logged in: `wandb login`")


@pytest.mark.parametrize("name", ["mlflow", "wandb", "tensorboard"])
def test_a_package_that_is_missing_is_one_line_and_the_others_go_on(
    name: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("mlflow", "mlflow.entities", "wandb", "tensorboardX"):
        if module.startswith(name):
            monkeypatch.setitem(sys.modules, module, None)  # what `import` takes for "not installed"
    monkeypatch.setenv("WANDB_MODE", "offline")
    [line] = send([name, "tensorboard"] if name != "tensorboard" else [name], tmp_path)
    assert line.startswith(f"track: nothing more goes to {name}: ")
    assert line.endswith(f"install it with: pip install '.[{name}]'")
    assert (tmp_path / "tensorboard").exists() == (name != "tensorboard")


def test_a_tracker_that_fails_later_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route to tracker.example\nmore")

    monkeypatch.setattr(FakeMlflow, "log_batch", unreachable)
    install(monkeypatch, "mlflow")
    install(monkeypatch, "mlflow.entities", Param=lambda *a: a, Metric=lambda *a: a)
    install(monkeypatch, "mlflow.tracking", MlflowClient=FakeMlflow)
    lines = send(["mlflow"], tmp_path)
    assert lines == ["track: nothing more goes to mlflow: ConnectionError: no route to tracker.example"]


def test_off_by_default_and_named_by_one_key(folder: Path) -> None:
    assert load_manifest(write(BASE)).track == ()
    assert load_manifest(write(BASE + "track: [wandb, tensorboard]\n")).track == ("wandb", "tensorboard")
    with pytest.raises(ManifestError) as error:
        load_manifest(write(BASE + "track: [tensorbord]\n"))
    assert "track" in str(error.value) and "tensorboard" in str(error.value)
    assert json.dumps(str(error.value)).count("\\n") == 0
