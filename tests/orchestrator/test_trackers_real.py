"""MLflow and W&B themselves, where they are installed: what a sweep sends is read back, and a server that is gone is a line.

They are no part of the dev extra (together some 200 MB): pip install mlflow-skinny sqlalchemy alembic wandb.
"""

from __future__ import annotations

import importlib
import json
import socket
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator.records import Results
from orchestrator.tracking.trackers import Tracking
from tests.orchestrator.test_trackers import play, sample, send

BLOCK, HEADER = 32 * 1024, 7


def test_mlflow_keeps_curves_results_and_failures_in_its_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for package in ("mlflow.tracking", "sqlalchemy", "alembic"):
        pytest.importorskip(package)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert send(["mlflow"], tmp_path) == []
    client = importlib.import_module("mlflow.tracking").MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("robust-ft-bench/demo")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    done, record, failed = sample()
    assert set(runs) == {done.id, failed.id}
    [loss] = client.get_metric_history(runs[done.id].info.run_id, "loss")
    assert (loss.step, loss.value) == (40, 0.5)
    [accuracy] = client.get_metric_history(runs[done.id].info.run_id, "accuracy/test/sketch")
    assert (accuracy.step, accuracy.value) == (100, record.evaluations[4].accuracy)
    assert runs[done.id].data.params["settings.strength"] == "0.3"
    assert (runs[done.id].info.status, runs[failed.id].info.status) == ("FINISHED", "FAILED")
    assert runs[failed.id].data.tags["failed"] == "dependency: its input failed"


def logged(path: Path) -> list[Any]:
    """The records of W&B's log: LevelDB's log format after seven bytes of its own, holding its protobuf messages."""
    record_type = importlib.import_module("wandb.proto.wandb_internal_pb2").Record
    data, place, found, started = path.read_bytes(), HEADER, [], b""
    while place + HEADER <= len(data):
        if BLOCK - place % BLOCK < HEADER:
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        started += data[place + HEADER : place + HEADER + length]
        place += HEADER + length
        if kind in (1, 4):  # whole, or the last part
            found.append(record_type.FromString(started))
            started = b""
    return found


def test_wandb_offline_keeps_curves_and_results_in_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert play(Tracking(["wandb"], Results(tmp_path), close_s=120)) == []
    runs = {}
    for path in tmp_path.glob("wandb/offline-run-*/run-*.wandb"):
        records = logged(path)
        [run] = [r.run for r in records if r.WhichOneof("record_type") == "run"]
        history = [i for r in records for i in r.history.item]
        summary = [i for r in records for i in r.summary.update]
        values = [
            {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in part} for part in (history, summary)
        ]
        runs[run.display_name] = run, *values, [r.exit.exit_code for r in records if r.HasField("exit")]
    done, record, failed = sample()
    assert set(runs) == {done.id, failed.id}
    run, history, summary, exits = runs[done.id]
    assert (run.project, run.run_group) == ("robust-ft-bench", "demo")
    assert (history["loss"], history["images_per_second"], history["_step"]) == (0.5, 12.0, 40)
    assert summary["accuracy/test/sketch"] == record.evaluations[4].accuracy and summary["selected_step"] == 100
    assert exits == [0]
    assert runs[failed.id][2]["failed"] == "dependency: its input failed" and runs[failed.id][3] == [1]


@pytest.mark.parametrize(("name", "package"), [("mlflow", "mlflow.tracking"), ("wandb", "wandb")])
def test_a_server_that_is_gone_is_one_line_and_does_not_hold_up_the_end(
    name: Any, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(package)
    with socket.create_server(("127.0.0.1", 0)) as free:
        gone = f"http://127.0.0.1:{free.getsockname()[1]}"
    for variable, value in {
        "MLFLOW_TRACKING_URI": gone,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "WANDB_BASE_URL": gone,
        "WANDB_API_KEY": "0" * 40,
        "WANDB_MODE": "online",
    }.items():
        monkeypatch.setenv(variable, value)
    tracking = Tracking([name], Results(tmp_path), close_s=120)
    began = time.monotonic()
    [line] = play(tracking)
    assert line.startswith(f"track: nothing more goes to {name}: ") and gone in line
    assert time.monotonic() - began < 100
    assert tracking._process is not None and tracking._process.returncode == 0
