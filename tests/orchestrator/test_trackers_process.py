"""The process that sends to trackers: it sends all, and whatever becomes of it, the sweep goes on and ends."""

from __future__ import annotations

import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from orchestrator.records import Results
from orchestrator.tracking.trackers import Tracking
from tests.orchestrator.test_trackers import METRICS, STARTED, play, sample


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", code)


def test_the_process_sends_and_its_end_is_no_error(tmp_path: Path) -> None:
    """What a library prints is not shown; what goes wrong is."""
    done, _, failed = sample()
    assert play(Tracking(["tensorboard"], Results(tmp_path), close_s=120)) == []
    assert {path.name for path in (tmp_path / "tensorboard").iterdir()} == {done.id, failed.id}
    (tmp_path / "file").write_text("")
    [line] = play(Tracking(["tensorboard"], Results(tmp_path / "file")))
    assert line.startswith("track: nothing more goes to tensorboard: NotADirectoryError: ")


def test_a_sweep_without_trials_starts_no_process(tmp_path: Path) -> None:
    tracking = Tracking(["tensorboard"], Results(tmp_path), command=("/nowhere/python",))
    assert list(tracking.close()) == []


def test_a_tracker_that_hangs_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.tracking.trackers.MAX_WAITING", 5)
    tracking = Tracking(["wandb"], Results(tmp_path), 0.2, python("import time; time.sleep(600)"))
    done, record, _ = sample()
    began = time.monotonic()
    for _ in range(300):
        tracking.event(done, STARTED)
        tracking.event(done, METRICS)
    tracking.end(done, record, None)
    process = tracking._process
    assert process is not None and process.poll() is None
    slow, dropped = tracking.close()
    assert time.monotonic() - began < 10
    assert process.poll() is not None, "it is ended, so that nothing of it outlives the sweep"
    assert slow == "track: not everything could be sent in 0.2 s; the records have it all"
    assert dropped.startswith("track: ") and dropped.endswith("metrics were dropped, since sending them took too long")


def test_a_process_that_dies_is_one_line_and_nothing_waits_for_it(tmp_path: Path) -> None:
    tracking = Tracking(["wandb"], Results(tmp_path), command=python("import os; os._exit(7)"))
    assert play(tracking) == ["track: nothing more is sent: the process that sends ended with exit code 7"]
    done, *_ = sample()
    tracking.event(done, STARTED)
    assert tracking._calls.qsize() <= 7, "nothing piles up"
    missing = Tracking(["wandb"], Results(tmp_path), command=("/nowhere/python",))
    [line] = play(missing)
    assert line.startswith("track: nothing is sent: ") and "/nowhere/python" in line


def test_a_process_that_ends_too_soon_without_an_error_is_one_line(tmp_path: Path) -> None:
    tracking = Tracking(["wandb"], Results(tmp_path), command=python("pass"))
    done, *_ = sample()
    tracking.event(done, STARTED)
    for thread in tracking._threads[1:]:
        thread.join(30)
    assert list(tracking.tick()) == ["track: nothing more is sent: the process that sends ended with exit code 0"]
    waiting = tracking._calls.qsize()
    tracking.event(done, METRICS)
    assert tracking._calls.qsize() == waiting and list(tracking.close()) == []


STAND_IN = """
import urllib.request

class MlflowClient:
    create_run = None  # never reached

    def __init__(self, tracking_uri):
        self.uri = tracking_uri

    def get_experiment_by_name(self, name):
        urllib.request.urlopen(self.uri).read()
"""


def test_a_server_that_takes_the_connection_and_never_answers_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real process of senders, with a client that has no timeout at all, as a library might."""
    package = tmp_path / "stand_in" / "mlflow"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "entities.py").write_text("")
    (package / "tracking.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.getsockname()[1]}")
        tracking = Tracking(["mlflow"], Results(tmp_path), close_s=0.5)
        done, record, _ = sample()
        tracking.event(done, STARTED)
        server.settimeout(30)
        connection, _ = server.accept()
        with connection:
            assert connection.recv(100).startswith(b"GET / HTTP/1.1")
            began = time.monotonic()
            tracking.end(done, record, None)
            lines = list(tracking.close())
            assert time.monotonic() - began < 10
            connection.settimeout(10)
            while connection.recv(1000):
                pass  # to its end: the process has let the connection go
    assert lines == ["track: not everything could be sent in 0.5 s; the records have it all"]
    assert tracking._process is not None and tracking._process.returncode == -signal.SIGKILL
