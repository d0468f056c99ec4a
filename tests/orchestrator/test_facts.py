"""Files of published values and of views that are wrong: each is named with its line, and stops only what cannot do without."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.facts import FactsError, rows
from orchestrator.manifest.read import ManifestError, load_manifest
from orchestrator.planning import gate
from orchestrator.planning.plan import make_plans
from orchestrator.report import build_report, published_points, read_board
from orchestrator.views import catalog
from orchestrator.views.published import published
from tests.conftest import ROOT
from tests.orchestrator import view_factory as make
from tests.orchestrator.test_papers import SMALL

HEAD = "table,scenario,reference,backbone,method,dataset,metric,mean\n"
LINE = "3,S,R,B,FT,P,accuracy,5.0\n"


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """Results of the paper's DomainNet table, beside whose trials published points stand."""
    results = make.folder()
    for method, settings in (("ft", {}), ("car_ft", make.CAR_FT)):
        make.done(results, make.trial(results, method, 0, settings), (89.0, 66.0, 67.0, 44.0, 55.0))
    return make.write(results, tmp_path / "results")


@pytest.fixture
def papers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of views in the place of this project's, with one file of them."""
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "lipsum_ft.yaml").write_text((catalog.FOLDER / "lipsum_ft.yaml").read_text())
    readable = catalog.readable_views.__wrapped__
    monkeypatch.setattr(published_points, "readable_views", lambda: readable(folder))
    yield folder


def points_of(board: Path) -> list[published_points.PublishedPoint]:
    """Those that the page draws."""
    (table,) = read_board(board).tables
    return published_points.published_points(table)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"a.csv:1: lacks the columns table, mean$"),
        (HEAD + LINE + "3,S\n", r"a.csv:3: has 2 cells, expected the 8 of line 1"),
        (HEAD + "3,S,R,B,Nam, FT,P,accuracy,5.0\n", r"a.csv:2: has 9 cells, expected the 8 of line 1; quote commas"),
        (HEAD + '3,"S"x,R,B,FT,P,accuracy,5.0\n', r"a.csv:2: is no CSV: "),
    ],
)
def test_a_file_that_is_wrong_is_named_with_its_line(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(FactsError, match=said):
        list(rows(path, ("table", "mean")))


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(HEAD.encode() + b"\xff")
    with pytest.raises(FactsError, match=r"a.csv: is not UTF-8 text: "):
        list(rows(path, ()))


def test_values_that_are_no_numbers_are_named_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEAD + LINE + LINE.replace("5.0", "high"))
    with pytest.raises(FactsError, match=r"a.csv:3: mean and std must be numbers: .*'high'"):
        published(tmp_path)
    (tmp_path / "a.csv").write_text(HEAD + LINE.replace("5.0", "nan"))
    with pytest.raises(FactsError, match=r"a.csv:2: mean and std must be numbers: 'nan' is not finite"):
        published(tmp_path)
    (tmp_path / "a.csv").write_text((HEAD + LINE).replace("table", "page"))
    with pytest.raises(FactsError, match=r"a.csv:1: lacks the column table or source"):
        published(tmp_path)


def test_a_wrong_file_of_views_costs_its_points_and_one_line(
    board: Path, papers: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's own file must not cost the leaderboard of a sweep that took days."""
    build_report(board)
    page, points = (board / "leaderboard.html").read_bytes(), points_of(board)
    assert {point.paper for point in points} == {"Nam et al."}
    (papers / "mine.yaml").write_text(SMALL.replace("rows: [ft]", "rows: [fft, gt]"))
    with caplog.at_level(logging.WARNING):
        build_report(board)
    assert (board / "leaderboard.html").read_bytes() == page and points_of(board) == points
    lines = {record.getMessage() for record in caplog.records}
    monkeypatch.setattr(published_points, "wrong_files", lambda: catalog.wrong_files(papers))
    build_report(board)
    assert "Published values of mine.yaml are missing" in (board / "leaderboard.html").read_text()
    (line,) = lines
    assert line.startswith(f"{papers}/mine.yaml:11: views[0].panels[0].rows: unknown row or list 'fft'")
    assert "(and 2 more); until it is mended" in line and "\n" not in line


def test_a_name_that_is_taken_leaves_the_first_view(papers: Path, caplog: pytest.LogCaptureFixture) -> None:
    (papers / "mine.yaml").write_text(SMALL.replace("name: mine", "name: lipsum-table-1"))
    with caplog.at_level(logging.WARNING):
        found = published_points.readable_views()
    assert found["lipsum-table-1"].source.startswith("Nam et al.")
    assert "mine.yaml: the name 'lipsum-table-1' is taken by" in caplog.text


def test_a_wrong_file_of_published_values_costs_its_points_and_one_line(
    board: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong() -> None:
        raise FactsError("a.csv:3: mean and std must be numbers")

    monkeypatch.setattr(published_points, "published", wrong)
    published_points._values.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            build_report(board)
            assert {point.place for point in points_of(board)} <= {"section 5.3"}, "what a view has of its own is left"
    finally:
        published_points._values.cache_clear()
    assert caplog.text.count("a.csv:3: mean and std must be numbers; until it is mended") == 1
    assert (board / "leaderboard.html").exists()


def test_a_wrong_file_of_the_gate_is_wrong_input_and_no_bug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may train as if there were nothing to compare with."""
    (tmp_path / "own.csv").write_text("method\nzero_shot\n")
    monkeypatch.setattr(gate, "FOLDER", tmp_path)
    manifest = load_manifest(ROOT / "benchmarks.yaml").at(None, str(tmp_path))
    monkeypatch.setattr(gate, "expected", lambda spec, prepared: gate.published(gate.FOLDER))
    with pytest.raises(ManifestError, match=r"own.csv:1: lacks the columns dataset, domain"):
        make_plans(manifest, ["demo"])
