"""Figures of the page as files: real ones by a browser, and what is said without kaleido or without a browser."""

from __future__ import annotations

import builtins
import os
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.report import read_board
from orchestrator.report.figure_export import named_figures
from tests.orchestrator.record_factory import DOMAINS, Folder, demo

HOSTILE = "../../<img src=x onerror=alert(1)>"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def small() -> Folder:
    """Two models that train once: no figure of seeds, none from per-image outcomes."""
    folder = Folder(domains=DOMAINS)
    folder.done(folder.trial("zero_shot", kind="reference"), (55, 52, 70, 50, 60))
    folder.done(folder.trial("ft"), (75, 45, 60, 42, 52))
    folder.done(folder.trial(HOSTILE, method="other"), (70, 50, 65, 45, 55))
    return folder


def browser_children() -> set[str]:
    """Processes of a browser that this test started: they have inherited its name."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                text = (folder / "cmdline").read_bytes().decode(errors="replace")
                ours = os.environ["PYTEST_CURRENT_TEST"].encode() in (folder / "environ").read_bytes()
            except OSError:  # it has ended
                continue
            if ours and "--proxy-server=http://127.0.0.1:9" in text.split("\0"):
                found.add(folder.name)
    return found


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small().write(tmp_path_factory.mktemp("results"))


@pytest.mark.browser
@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_every_figure_becomes_a_file(kind: str, results: Path, tmp_path: Path) -> None:
    pytest.importorskip("kaleido", reason="the extra `figures` is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on the PATH; `apt-get install chromium` to run the browser tests")
    before = browser_children()
    ran = CliRunner().invoke(
        app, ["report", str(results), "--figures", str(tmp_path / "deep" / "er"), "--format", kind]
    )
    assert ran.exit_code == 0, ran.output
    paths = [Path(line) for line in ran.stdout.split("\n") if line]
    assert paths == [tmp_path / "deep" / "er" / f"{name}.{kind}" for name, _ in named_figures(read_board(results))]
    assert sorted((tmp_path / "deep" / "er").iterdir()) == sorted(paths)
    assert {"scatter-linear-axes", "scatter-logit-axes", "domains"} <= {
        path.stem.removeprefix("demo-tiny-reference-real-") for path in paths
    }
    for path in paths:
        _check(kind, path)
    assert browser_children() <= before
    assert not (results / "leaderboard.html").exists(), "figures only"


def _check(kind: str, path: Path) -> None:
    if kind == "png":
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB")).astype(int)
        assert pixels.shape[1] == 1600
        assert (pixels[0, 0] == 255).all(), "on paper"
        coloured = (pixels.max(axis=2) - pixels.min(axis=2) > 80).sum()
        assert coloured > 500, "points in colour"
    elif kind == "svg":
        root = ET.parse(path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        text = "".join(root.itertext())
        assert "demo, tiny, reference real" in text
        assert "<img src=x" in text, "a name is text; a long one is shortened in its middle"
        images = list(root.iter("{http://www.w3.org/2000/svg}image"))  # a scale of colours is one
        assert all(
            value.startswith("data:image/png") for image in images for key, value in image.items() if "href" in key
        )
        assert all("onerror" not in image.attrib for image in images)
    else:
        assert path.read_bytes()[:5] == b"%PDF-"
        assert path.stat().st_size > 5000


def test_names_stay_in_the_folder_and_apart(tmp_path: Path) -> None:
    folder = demo(folder=Folder(benchmark="a b", model="../x/..\\y"))
    folder.plan += [t.model_copy(update={"model": "--x y"}) for t in folder.plan]
    names = [name for name, _ in named_figures(read_board(folder.write(tmp_path)))]
    assert len(set(names)) == len(names) == 10
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for name in names)
    assert {"a-b-x-y-reference-real-domains", "a-b-x-y-reference-real-domains-2"} <= set(names)


def test_without_kaleido(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = builtins.__import__

    def none(name: str, *args: object, **kwargs: object) -> object:
        if name == "kaleido":
            raise ModuleNotFoundError("No module named 'kaleido'", name="kaleido")
        return known(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", none)
    ran = CliRunner().invoke(app, ["report", str(results), "--figures", str(tmp_path / "figures")])
    assert ran.exit_code == 2
    assert ran.stderr.count("\n") == 1
    assert "need kaleido: pip install 'kaleido>=1', or the extra `figures`" in ran.stderr
    assert not (tmp_path / "figures").exists()


def test_without_a_browser(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kaleido", reason="the extra `figures` is not installed")
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "nowhere"))
    ran = CliRunner().invoke(app, ["report", str(results), "--figures", str(tmp_path)])
    assert ran.exit_code == 2
    assert ran.stderr.count("\n") == 1
    for part in ("none was found", "apt-get install chromium", "BROWSER_PATH"):
        assert part in ran.stderr


def test_a_browser_that_fails(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kaleido", reason="the extra `figures` is not installed")
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("BROWSER_PATH", os.fspath(broken))
    ran = CliRunner().invoke(app, ["report", str(results), "--figures", str(tmp_path)])
    assert ran.exit_code == 2, ran.exception
    assert "the browser failed" in ran.stderr
    assert "BROWSER_PATH" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "svg"], "--format goes with --figures FOLDER"),
        (["--figures", "x", "--watch"], "--figures and --watch do not go together"),
        (["--format", "svg", "--view", "lipsum-table-1"], "--format goes with --figures FOLDER"),
    ],
)
def test_options_that_do_not_go_together(results: Path, arguments: list[str], said: str) -> None:
    ran = CliRunner().invoke(app, ["report", str(results), *arguments])
    assert ran.exit_code == 2
    assert said in ran.stderr


def test_a_page_without_figures_says_so(tmp_path: Path) -> None:
    folder = Folder()
    folder.done(folder.trial("zero_shot", kind="reference"), (55, 52, 70, 50, 60))
    ran = CliRunner().invoke(app, ["report", str(folder.write(tmp_path)), "--figures", str(tmp_path / "figures")])
    assert ran.exit_code == 2
    assert "the page has no figures" in ran.stderr
