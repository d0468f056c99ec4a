"""How `run` ends when the sweep, the page or the folder of results fails it: exit codes and what is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

import orchestrator.sweeps.run
from orchestrator.cli import app
from orchestrator.sweeps.driver import SweepError, SweepRefusedError
from orchestrator.sweeps.sweep import SweepOptions, SweepSummary
from tests.orchestrator.manifest_fixtures import BASE, folder, write

__all__ = ["folder"]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def outcome(monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[SweepError | SweepSummary]:
    """What the sweep raises or returns, changed in place; the page is a line."""
    found: list[SweepError | SweepSummary] = [SweepSummary(0, 13, 0, 1.0)]

    def sweep(*_: object, **__: object) -> SweepSummary:
        if isinstance(found[0], SweepError):
            raise found[0]
        return found[0]

    monkeypatch.setattr(orchestrator.sweeps.run, "run_sweep", sweep)
    monkeypatch.setattr(orchestrator.sweeps.run, "build_report", lambda root: [root / "leaderboard.html"])
    write(BASE)
    return found


@pytest.mark.parametrize("why", ["Tune stopped early", "a local Ray did not start in 3 attempts: busy"])
def test_a_sweep_that_cannot_go_on_exits_with_1_and_a_page(outcome: list[SweepError | SweepSummary], why: str):
    outcome[0] = SweepError(why)
    result = call("run")
    assert (result.exit_code, result.stderr) == (1, "")
    assert f"the sweep ended early: {why}\n" in result.stdout
    assert "leaderboard.html" in result.stdout.splitlines()[-1]


def test_the_limit_of_silence_comes_from_the_manifest(outcome: object, monkeypatch: pytest.MonkeyPatch):
    seen: list[SweepOptions] = []

    def sweep(plans: object, results: object, options: SweepOptions, **_: object) -> SweepSummary:
        seen.append(options)
        return SweepSummary(0, 13, 0, 1.0)

    monkeypatch.setattr(orchestrator.sweeps.run, "run_sweep", sweep)
    assert call("run").exit_code == 0
    write("resources: {silence_minutes: 90}\n" + BASE)
    assert call("run").exit_code == 0
    assert [options.silence_minutes for options in seen] == [None, 90]
    write("resources: {silence_minutes: 0}\n" + BASE)
    assert call("run").stderr == "benchmarks.yaml:1: resources.silence_minutes: must be greater than 0, got 0\n"


def test_a_sweep_that_is_refused_exits_with_2_and_no_page(outcome: list[SweepError | SweepSummary]):
    outcome[0] = SweepRefusedError("no slot fits")
    result = call("run")
    assert (result.exit_code, result.stderr) == (2, "no slot fits\n")
    assert "leaderboard" not in result.stdout


@pytest.mark.parametrize("failed", [0, 1])
def test_a_page_that_cannot_be_made_is_one_line(
    outcome: list[SweepError | SweepSummary], failed: int, monkeypatch: pytest.MonkeyPatch, folder: Path
):
    from orchestrator.report import build_report

    outcome[0] = SweepSummary(0, 13 - failed, failed, 1.0)
    monkeypatch.setattr(orchestrator.sweeps.run, "build_report", build_report)
    other = folder / "results" / "plans" / "other.json"
    other.parent.mkdir(parents=True)
    other.write_text("{")
    result = call("run")
    assert result.exit_code == failed
    assert result.stdout.splitlines()[-1].startswith(f"page not made: {other}: not a plan this version can read: ")


@pytest.mark.parametrize("command", ["plan", "run", "status"])
@pytest.mark.parametrize("below", ["", "results"])
def test_a_file_is_no_folder_of_results(outcome: object, folder: Path, command: str, below: str):
    (folder / "file").write_text("")
    path = folder / "file" / below
    result = call(command, "--results", str(path))
    end = "name another folder by --results, or by results: in the manifest"
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"results: {path}: {folder / 'file'} is no folder; {end}\n"


def test_a_folder_of_results_that_cannot_be_made(outcome: object):
    result = call("run", "--results", "/proc/x")
    assert result.exit_code == 2
    assert result.stderr.startswith("results: /proc/x: cannot be written: No such file or directory; name another")
