"""Views on the command line, those with a builder of their own, and what is said about them all."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.views import build_views, list_views, views
from orchestrator.views.catalog import FOLDER, shipped
from orchestrator.views.extra import EXTRA, ExtraView, NotHereError
from tests.conftest import ROOT
from tests.orchestrator.test_imports import loaded_after
from tests.orchestrator.test_papers import SMALL


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = CliRunner()
    monkeypatch.setenv("COLUMNS", "400")
    for name in list(EXTRA):
        monkeypatch.delitem(EXTRA, name)  # they need features and images; their own tests have them
    listed = runner.invoke(app, ["report", "--list-views"])
    assert listed.exit_code == 0 and [row.split(":")[0] for row in listed.stdout.splitlines()] == list(views())
    done = runner.invoke(app, ["report", str(tmp_path), "--view", "lipsum-table-11"])
    assert done.exit_code == 0 and len(done.stdout.split()) == 4
    assert all(Path(path).is_file() for path in done.stdout.split())
    own = tmp_path / "own.yaml"
    own.write_text(SMALL)
    done = runner.invoke(app, ["report", str(tmp_path), "--view", str(own)])
    assert done.exit_code == 0 and [Path(path).stem for path in done.stdout.split()] == ["mine"] * 4
    own.write_text(SMALL.replace("backbone: B/16", "backbone: B/61"))
    for arguments, said in (
        (["--view", "lipsum-tabel-1"], "no view 'lipsum-tabel-1', did you mean 'lipsum-table-1'?"),
        (["--view", str(own)], f"{own}:11: views[0].panels[0].backbone: unknown backbone 'B/61', did you mean 'B/16'?"),
        (["--view", str(tmp_path / "no.yaml")], "no such file"),
        (["--view", "all", "--watch"], "--view and --watch do not go together"),
    ):
        result = runner.invoke(app, ["report", str(tmp_path), *arguments])
        assert result.exit_code == 2 and said in result.stderr and result.stderr.count("\n") == 1
    result = runner.invoke(app, ["report", str(tmp_path / "none"), "--view", "all"])
    assert result.exit_code == 2 and "no such folder" in result.stderr


def test_views_with_a_builder_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(results: Path, into: Path) -> list[Path]:
        if not (results / "needed").is_file():
            raise NotHereError("own needs a file")
        return [into / "own.html"]

    monkeypatch.setitem(EXTRA, "own", ExtraView("own", "Of its own", "here", ("a",), build, lambda results: []))
    assert list_views()[-1] == "own: Of its own (filled by a)"
    with pytest.raises(NotHereError):
        build_views(tmp_path, "own")
    told: list[str] = []
    monkeypatch.setattr("orchestrator.views.find", lambda name: [EXTRA["own"], views()["lipsum-table-3"]])
    assert len(build_views(tmp_path, "all", told.append)) == 4 and told == ["left out: own needs a file"]
    (tmp_path / "needed").touch()
    assert build_views(tmp_path, "all")[0] == tmp_path / "views" / "own.html"


@pytest.mark.parametrize("name", ["lipsum-table-1", "Lipsum-Table-1", "lipsum-figure-15"])
def test_a_view_of_ones_own_cannot_overwrite_one_of_these(name: str, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(SMALL.replace("name: mine", f"name: {name}"))
    for more in ([], ["--figures", str(tmp_path / "fig")]):
        result = CliRunner().invoke(app, ["report", str(tmp_path), "--view", str(own), *more])
        assert result.exit_code == 2 and result.stderr.count("\n") == 1
        assert str(own) in result.stderr and repr(name) in result.stderr and "give" in result.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["own.yaml"]
    assert len(build_views(tmp_path, str(FOLDER / "car_ft_domainbed.yaml"))) == 4, "these files themselves are no clash"


@pytest.fixture
def one_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of views in the place of this project's, with a file that is wrong beside one that is right."""
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "right.yaml").write_text(SMALL)
    (folder / "wrong.yaml").write_text(SMALL.replace("backbone: B/16", "backbone: B/61"))
    for name in list(EXTRA):
        monkeypatch.delitem(EXTRA, name)
    read = shipped.__wrapped__
    for place in ("orchestrator.views", "orchestrator.views.catalog"):
        monkeypatch.setattr(f"{place}.shipped", lambda: read(folder))
    return folder / "wrong.yaml"


def test_a_wrong_file_is_named_and_the_other_views_are_made(one_wrong: Path, tmp_path: Path) -> None:
    def run(*words: str) -> Result:
        return CliRunner().invoke(app, ["report", str(tmp_path), *words])

    said = f"{one_wrong}:11: views[0].panels[0].backbone: unknown backbone 'B/61', did you mean 'B/16'? known: B/16\n"
    done = run("--view", "all")
    assert (done.exit_code, done.stderr) == (2, said)
    assert [Path(path).name for path in done.stdout.split()] == [
        f"mine.{kind}" for kind in ("html", "md", "tex", "csv")
    ]
    assert all(Path(path).is_file() for path in done.stdout.split())
    listed = run("--list-views")
    assert (listed.exit_code, listed.stderr, listed.stdout[:5]) == (2, said, "mine:")
    alone = run("--view", "mine")
    assert (alone.exit_code, alone.stderr) == (0, "") and alone.stdout == done.stdout
    unknown = run("--view", "theirs")
    assert unknown.exit_code == 2 and unknown.stderr.startswith("no view 'theirs'") and said in unknown.stderr


def test_views_load_neither_ray_nor_torch() -> None:
    assert loaded_after("orchestrator.views", "ray", "torch", "pydantic") == ["pydantic"]


def test_the_documentation_has_every_view() -> None:
    text = (ROOT / "docs/views.md").read_text()
    for view in (*views().values(), *EXTRA.values()):
        (row,) = [row for row in text.splitlines() if row.startswith(f"| `{view.name}`")]
        assert all(f"`{name}`" in row for name in view.benchmarks), view.name
