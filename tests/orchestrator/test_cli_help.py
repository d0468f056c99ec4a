"""What the command line lists and teaches, and what it costs to ask."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from orchestrator.__main__ import wrong_datasets
from tests.orchestrator.manifest_fixtures import SOUP, folder
from tests.orchestrator.test_cli import ROOT, call

__all__ = ["folder"]


@pytest.mark.usefixtures("folder")
class TestOthers:
    def test_prepare_and_verify(self, folder):
        result = call("prepare", "tiny")
        assert result.exit_code == 0, result.output
        assert (folder / "data" / "tiny" / "dataset.json").exists()
        assert "verified" in call("prepare", "tiny", "--to", "data/tiny").stdout

    def test_list(self, folder):
        (folder / "plugins" / "mine.py").write_text(SOUP.replace("Soup", "Mine"))
        methods = call("list", "methods", "--plugins", "plugins").stdout
        assert "mine: Mine (none); post-hoc, builds on all seeds together\n" in methods
        assert "    strength: number >= 0, default 1.0" in methods
        assert "zero_shot: " in methods and "does not train\n" in methods
        assert call("list", "methods", "--plugins", "nowhere").exit_code == 2
        models = call("list", "models").stdout.splitlines()
        assert any(line.startswith("ViT-B-16-quickgelu: openai") for line in models)
        assert not any(line.startswith("ViT-B-16: openai") for line in models)

    def test_schema(self):
        assert json.loads(call("schema").stdout)["properties"]["benchmarks"]

    def test_help_teaches(self):
        result = call("--help")
        assert result.exit_code == 0
        for command in ("plan", "run", "status", "report", "prepare", "check", "list", "schema"):
            assert f"\n  {command} " in result.stdout
        assert "Examples: run; run benchmarks.yaml pacs" in " ".join(call("run", "--help").stdout.split())


@pytest.mark.parametrize("arguments", [("report", "results", "--selection", "foo"), ("list", "foo")])
def test_a_wrong_choice_is_said_in_plain_words(arguments):
    result = call(*arguments)
    assert result.exit_code == 2
    assert ": 'foo' is not one of '" in result.stderr and "Value error" not in result.stderr


def test_list_datasets():
    assert "demo: " in call("list", "datasets").stdout


def test_help_and_schema_import_neither_torch_nor_ray():
    code = (
        "import sys; from typer.testing import CliRunner; from orchestrator.cli import app\n"
        "assert CliRunner().invoke(app, ['run', '--help']).exit_code == 0\n"
        "assert CliRunner().invoke(app, ['schema']).exit_code == 0\n"
        "sys.exit(', '.join({'torch', 'ray', 'open_clip'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_datasets_package_is_ours(monkeypatch, tmp_path):
    assert wrong_datasets() is None
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "plan"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"`import datasets` finds {tmp_path}/datasets/__init__.py, not {ROOT}/datasets; run this from"
    )
    assert done.stdout == ""
