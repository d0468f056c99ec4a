"""The page while records come in: watched, and made again beside a sweep."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

import orchestrator.sweeps.run
from orchestrator.cli import app
from orchestrator.live.rebuild import Rebuilder, signature, watch
from orchestrator.records import Results, write_record
from orchestrator.sweeps.driver import Driver
from tests.conftest import ROOT
from tests.orchestrator.processes import hear_ctrl_c
from tests.orchestrator.record_factory import Folder

PAGE = (
    '<html><head><meta http-equiv="Content-Security-Policy" content="default-src &#39;none&#39;; '
    'script-src &#39;sha256-abc=&#39; blob:; connect-src &#39;none&#39;; base-uri &#39;none&#39;"></head>'
    "<body>numbers</body></html>"
)


def two_trials() -> Folder:
    folder = Folder()
    for seed in (0, 1):
        folder.done(folder.trial("ft", seed), (75, 45, 60, 42, 52))
    return folder


class Watched:
    """Drives `watch` with a clock of its own: one action before each look."""

    def __init__(self, root: Path, *actions: Callable[[], object], fails: type[Exception] | None = None) -> None:
        self.built, self.said, self.slept = 0, list[str](), list[float]()
        left = list(actions)

        def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            if not left:
                raise KeyboardInterrupt
            left.pop(0)()

        def build() -> None:
            self.built += 1
            if fails and self.built == 1:
                raise fails("nothing yet\nmore")

        with pytest.raises(KeyboardInterrupt):
            watch(root, build, self.said.append, 3.0, sleep)


def test_the_page_is_made_at_first_and_after_each_change_only(tmp_path: Path) -> None:
    folder = two_trials()
    root = folder.write(tmp_path)
    first = next(iter(folder.records.values()))
    watched = Watched(
        root,
        lambda: None,
        lambda: write_record(Results(root), first),  # again, at another time
        lambda: (root / "trials" / "x").mkdir(),
        lambda: (root / "leaderboard.html").write_text("made"),
        lambda: next(root.glob("plans/*.json")).unlink(),
    )
    assert watched.built == 3
    assert all("leaderboard.html: made from 2 records in 0.0 s" in line for line in watched.said)
    assert watched.slept == [3.0] * 6


def test_what_cannot_be_made_is_said_and_tried_after_the_next_change(tmp_path: Path) -> None:
    root = two_trials().write(tmp_path)
    watched = Watched(root, lambda: None, lambda: next(root.glob("plans/*.json")).unlink(), fails=ValueError)
    assert watched.built == 2
    assert [line.partition(": ")[2].split(" in ")[0] for line in watched.said] == [
        "not made: nothing yet",
        "made from 2 records",
    ]


def test_watching_a_folder_that_is_not_there_is_wrong_input(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["report", str(tmp_path / "x"), "--watch"])
    assert result.exit_code == 2
    assert result.stderr == f"{tmp_path / 'x'}: no such folder of results\n"


def test_ctrl_c_ends_a_watch_without_an_error(tmp_path: Path) -> None:
    root = two_trials().write(tmp_path)
    command = [sys.executable, "-m", "orchestrator", "report", str(root), "--watch"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c
    ) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline() == f"watching {root}; Ctrl-C ends it\n"
        assert "made from 2 records" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stdout.read() == "ended\n"
        assert process.stderr.read() == ""
    assert (root / "leaderboard.html").exists()


def test_a_signature_is_of_records_and_plans(tmp_path: Path) -> None:
    root = two_trials().write(tmp_path)
    assert {name.split("/")[0] for name, _, _ in signature(root)} == {"trials", "plans"}
    assert len(signature(root)) == 3


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def until_idle(rebuilder: Rebuilder) -> list[str]:
    """Tick until no process runs; what it said."""
    lines = list(rebuilder.tick())
    for _ in range(2000):
        if rebuilder._process is None:
            return lines
        time.sleep(0.01)
        lines += rebuilder.tick()
    raise AssertionError("the process did not end")


def counting(tmp_path: Path, more: str = "") -> tuple[str, ...]:
    """A command that leaves a line in a file."""
    return (sys.executable, "-S", "-c", f"open({str(tmp_path / 'runs')!r}, 'a').write('x'); {more}")


def runs(tmp_path: Path) -> int:
    return len((tmp_path / "runs").read_text()) if (tmp_path / "runs").exists() else 0


TRIAL: Any = None


def test_a_sweep_makes_a_page_every_thirty_seconds_at_most_and_only_if_something_is_new(tmp_path: Path) -> None:
    clock = Clock()
    rebuilder = Rebuilder(tmp_path, 30, clock, counting(tmp_path))
    for now, ends, expected in ((10, True, 0), (31, False, 1), (45, True, 1), (62, False, 2), (200, False, 2)):
        clock.now = now
        if ends:
            rebuilder.end(TRIAL, None, None)
        assert until_idle(rebuilder) == []
        assert runs(tmp_path) == expected, now


def test_a_page_that_takes_long_is_made_less_often_at_the_lowest_priority_and_never_twice_at_a_time(
    tmp_path: Path,
) -> None:
    clock = Clock()
    rebuilder = Rebuilder(tmp_path, 30, clock, (sys.executable, "-S", "-c", "import time; time.sleep(60)"))
    clock.now = 40
    rebuilder.end(TRIAL, None, None)
    rebuilder.tick()
    process = rebuilder._process
    assert process is not None
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == 19
    clock.now = 100
    rebuilder.end(TRIAL, None, None)
    rebuilder.tick()
    assert rebuilder._process is process
    process.kill()
    process.wait()
    clock.now = 140
    assert rebuilder.tick() == ["the leaderboard is not made while this runs: exit code -9"]
    clock.now = 140 + 10 * 100 - 1
    rebuilder.tick()
    assert rebuilder._process is None
    clock.now += 2
    rebuilder.tick()
    assert rebuilder._process is not None
    rebuilder.close()
    assert rebuilder._process is None


def test_a_page_that_cannot_be_made_is_said_once(tmp_path: Path) -> None:
    clock = Clock()
    rebuilder = Rebuilder(tmp_path, 30, clock, counting(tmp_path, "raise SystemExit('the disk is full')"))
    said = []
    for now in (31, 500):
        clock.now = now
        rebuilder.end(TRIAL, None, None)
        said += until_idle(rebuilder)
    assert said == ["the leaderboard is not made while this runs: the disk is full"]
    assert runs(tmp_path) == 2


class Spy:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def event(self, *call: Any) -> None:
        self.calls.append(("event", *call))

    def end(self, *call: Any) -> None:
        self.calls.append(("end", *call))

    def tick(self) -> list[str]:
        return ["a line"]

    def close(self) -> list[str]:
        self.calls.append(("close",))
        return ["a last line"]


class Quiet:
    """Stands in for the pool, the display and the interrupts."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.broken: dict[int, str] = {}

    def say(self, line: str, style: str = "") -> None:
        self.said.append(line)

    def end_silent(self) -> list[tuple[str, float]]:
        return []

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def test_a_sweep_tells_its_observers(tmp_path: Path) -> None:
    folder = two_trials()
    root = folder.write(tmp_path)
    [first, second] = folder.plan
    spy, display = Spy(), Quiet()
    display.board = Quiet()
    sweep: Any = Driver({}, Results(root), Quiet(), display, root, Quiet(), False, [spy])  # type: ignore[arg-type]
    sweep._trials, sweep._graph = {t.id: t for t in folder.plan}, Quiet()
    sweep._graph.take_doomed = lambda: []
    sweep.on_event(first.id, {"kind": "started"})
    sweep.on_event(first.id, {"kind": "completed"})
    sweep.on_end(first.id, None, False)
    Results(root).record(second.id).unlink()
    sweep.on_end(second.id, {"kind": "failed", "reason": "permanent: no"}, False)
    sweep.on_tick()
    assert spy.calls == [
        ("event", first, {"kind": "started"}),
        ("end", first, folder.records[first.id], None),
        ("end", second, None, "permanent: no"),
    ]
    assert display.said == ["a line"]


def test_run_closes_its_observers_however_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    spy = Spy()
    monkeypatch.setattr(orchestrator.sweeps.run, "Rebuilder", lambda root: spy)
    manifest: Any = type("Made", (), {"results": tmp_path, "track": ()})
    console = Console(highlight=False)
    with (
        pytest.raises(KeyboardInterrupt),
        orchestrator.sweeps.run._observers(manifest, orchestrator.sweeps.run.Flags(), console),
    ):
        raise KeyboardInterrupt
    assert spy.calls == [("close",)]
    assert capsys.readouterr().out == "a last line\n"
    with orchestrator.sweeps.run._observers(manifest, orchestrator.sweeps.run.Flags(report=False), console) as found:
        assert found == []
