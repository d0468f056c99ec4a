"""A folder of results that cannot be written is one line and exit code 2, never a traceback."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from orchestrator.cli import app
from tests.orchestrator.record_factory import demo


@pytest.mark.parametrize("more", [[], ["--view", "lipsum-table-1"]])
def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str]) -> None:
    root = demo().write(tmp_path)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("orchestrator.records.os.fsync", full)
    found = CliRunner().invoke(app, ["report", str(root), *more])
    assert found.exit_code == 2 and "Traceback" not in found.output
    (line,) = found.output.strip().splitlines()
    assert "No space left on device" in line and str(root) in line
    assert not list(root.rglob(".*"))


def test_a_closed_pipe_is_no_wrong_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of `report RESULTS | head -1`: it ends, and says nothing."""
    root, echo = demo().write(tmp_path), typer.echo

    def closed(text: str, err: bool = False) -> None:
        if not err:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        echo(text, err=True)

    monkeypatch.setattr("orchestrator.commands.report.typer.echo", closed)
    found = CliRunner().invoke(app, ["report", str(root)])
    assert (found.exit_code, found.output) == (1, "")
