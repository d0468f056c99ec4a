"""What the server of the page says of connections that break: nothing of those that a browser left, all of a bug."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.live.serve import Server


def said(root: Path, error: Exception, capsys: pytest.CaptureFixture[str]) -> str:
    with Server(root, 0) as server:
        try:
            raise error
        except type(error):
            server.handle_error(None, ("127.0.0.1", 1))  # as socketserver calls it
    return capsys.readouterr().err


@pytest.mark.parametrize("error", [BrokenPipeError(), ConnectionResetError(), TimeoutError()], ids=repr)
def test_a_browser_that_leaves_is_no_error(
    tmp_path: Path, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(tmp_path, error, capsys) == ""


def test_a_bug_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "KeyError: 'page'" in said(tmp_path, KeyError("page"), capsys)
