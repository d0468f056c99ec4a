"""Files of views: what they say is what the views have, and what is wrong with them is said with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from methods import available
from orchestrator.records import Results
from orchestrator.views import ViewError, views
from orchestrator.views.catalog import FOLDER, load_views
from orchestrator.views.join import load
from orchestrator.views.paper import load_paper
from orchestrator.views.published import Published, published
from orchestrator.views.spec import Row, View
from tests.conftest import ROOT
from tests.orchestrator import view_factory as make

SMALL = """\
source: Someone, A paper, 2026
backbones: {B/16: {model: ViT-B-16-quickgelu}}
scenarios: {DomainNet: {dataset: domainnet, domains: {R: real, P: painting, C: clipart}, num_seeds: 3}}
rows:
  ft: {title: FT, method: ft}
  soup: {title: "Soup, a={a}", method: greedy_soup, of: ft, grid: {a: [0.5, 1]}, parameters: {alpha: "{a}"}}
views:
  - name: mine
    title: My table
    benchmarks: [own]
    panels: [{scenario: DomainNet, backbone: B/16, rows: [ft], values: {FT: [80.0, [60.0, 0.5], null]}}]
"""


def read(folder: Path, text: str = SMALL) -> View:
    path = folder / "mine.yaml"
    path.write_text(text)
    (view,) = load_paper(path)
    return view


def problems(folder: Path, before: str, after: str) -> list[str]:
    assert before in SMALL
    with pytest.raises(ViewError) as caught:
        read(folder, SMALL.replace(before, after))
    return [problem.removeprefix(f"{folder}/") for problem in caught.value.problems]


def rows(folder: Path, entries: str, names: str) -> tuple[Row, ...]:
    text = SMALL.replace("views:", f"  {entries}\nviews:").replace("rows: [ft]", f"rows: {names}")
    return read(folder, text.replace(", values: {FT: [80.0, [60.0, 0.5], null]}", "")).panels[0].rows


def test_values_in_the_file_stand_beside_ours(tmp_path: Path) -> None:
    results = make.folder("own")
    make.done(results, make.trial(results, "ft", 0), (81.0, 61.0, 50.0, 40.0, 30.0))
    root = make.write(results, tmp_path / "results")
    (line,) = load(Results(root)).fill(read(tmp_path)).panels[0].lines
    assert [cell.published for cell in line.cells] == [Published(80.0, None), Published(60.0, 0.5), None, None]
    assert [cell.difference for cell in line.cells] == [pytest.approx(1.0), pytest.approx(1.0), None, None]
    assert line.remarks == ("seeds: 1, published 3",) and line.cells[3].ours.mean == pytest.approx(55.5)


def test_the_example_of_the_documentation(tmp_path: Path) -> None:
    (example,) = (ROOT / "docs/views.md").read_text().split("```yaml\n")[1:]
    (panel,) = read(tmp_path, example.partition("```")[0]).panels
    assert [row.title for row in panel.rows] == ["FT", "Ours, a=0.1", "Ours, a=1.0", "Ours + soup"]
    assert panel.values["Ours, a=1.0"]["R"] == Published(89.1, 0.2) and "I" not in panel.values["Ours, a=1.0"]


@pytest.mark.parametrize(
    ("layout", "domains", "columns"),
    [
        ("domains", "{R: real, P: painting}", ["R*", "P"]),
        ("axes", "{R: real, P: painting}", ["R*", "shift mean"]),
        ("domains", "{R: real}", ["R*"]),
        ("axes", "{R: real}", ["R*"]),
    ],
)
def test_the_mean_over_one_shifted_domain_is_no_second_column(
    tmp_path: Path, layout: str, domains: str, columns: list[str]
) -> None:
    values = ", ".join(["80.0", "60.0"][: len(columns)])
    text = SMALL.replace("{R: real, P: painting, C: clipart}", domains)
    text = text.replace("values: {FT: [80.0, [60.0, 0.5], null]}", f"layout: {layout}, values: {{FT: [{values}]}}")
    (panel,) = read(tmp_path, text).panels
    assert [column.title for column in panel.columns] == columns
    assert [value.mean for value in panel.values["FT"].values()] == [80.0, 60.0][: len(columns)]


def test_values_of_csv_files_are_told_by_their_first_column(tmp_path: Path) -> None:
    head = "scenario,reference,backbone,method,dataset,metric,mean\n"
    (tmp_path / "a.csv").write_text(f"table,{head}3,S,R,B,FT,P,accuracy,5.0\n")
    (tmp_path / "b.csv").write_text(f"source,{head}a blog,S,R,B,FT,P,accuracy,6.0\n")
    found = published(tmp_path)
    assert {key[0]: value for key, (value,) in found.items()} == {
        "3": Published(5.0, None),
        "a blog": Published(6.0, None),
    }
    other = tmp_path / "other"
    other.mkdir()
    (other / "c.csv").write_text("table,scenario\n3,S\n")
    with pytest.raises(ValueError, match=r"c.csv:1: lacks the columns .*backbone"):
        published(other)


def test_grids_and_likeness(tmp_path: Path) -> None:
    soups = rows(tmp_path, 'more: {like: soup, title: "More, a={a}", published: "", settings: {b: 1}}', "[soup, more]")
    assert [row.title for row in soups] == ["Soup, a=0.5", "Soup, a=1", "More, a=0.5", "More, a=1"]
    assert [row.parameters for row in soups[:2]] == [{"alpha": 0.5}, {"alpha": 1}], "values keep their types"
    assert [row.published for row in soups[1:3]] == ["Soup, a=1", ""] and soups[0].of == Row("FT", "ft", "FT")
    assert soups[3].settings == {"b": 1} and soups[3].method == soups[0].method
    entry = 'x: {title: "{n:,} of {k}", method: "", published: x, grid: [{n: [1000, 2], k: [1, 2]}, {n: 3, k: 4}]}'
    found = rows(tmp_path, entry, "[x]")
    assert [row.title for row in found] == ["1,000 of 1", "1,000 of 2", "2 of 1", "2 of 2", "3 of 4"]
    assert [row.occurrence for row in found] == [0, 1, 2, 3, 4], "ours in turn for what a table prints several times"


def test_panels_for_each_scenario_backbone_and_reference(tmp_path: Path) -> None:
    text = SMALL.replace(
        "values: {FT: [80.0, [60.0, 0.5], null]}", 'reference: [R, P], title: "{reference} of {scenario}"'
    )
    first, second = read(tmp_path, text).panels
    assert (first.title, first.sources, second.title, second.sources) == (
        "R of DomainNet",
        ("real",),
        "P of DomainNet",
        ("painting",),
    )
    assert [column.title for column in second.columns] == ["R", "P*", "C", "shift mean"]
    assert second.columns[-1].domains == ("real", "clipart")


WRONG = [
    ("rows: [ft]", "rows: [fft]", "11: views[0].panels[0].rows: unknown row or list 'fft', did you mean 'ft'?"),
    ("rows: [ft]", "rows: [ft], colour: red", "11: views[0].panels[0]: unknown key 'colour'"),
    ("scenario: DomainNet", "scenario: [DomainNet, X]", "11: views[0].panels[0].scenario: unknown scenario 'X'"),
    ("backbone: B/16", "backbone: B/61", "11: views[0].panels[0].backbone: unknown backbone 'B/61'"),
    ("rows: [ft]", "rows: [ft], reference: Q", "11: views[0].panels[0].reference: unknown domain 'Q'"),
    ("rows: [ft]", "rows: [ft], metric: acc", "11: views[0].panels[0].metric: must be 'accuracy'"),
    ("rows: [ft]", "rows: [ft], metric: harmonic", "11: views[0].panels[0].metric: harmonic is of two domains"),
    ("rows: [ft]", 'rows: [ft], title: "{a}"', "11: views[0].panels[0].title: {a} stands for nothing here"),
    ("rows: [ft]", "rows: [ft], columns: [{title: A, domains: [x]}]", "columns[0].domains: unknown domain 'x'"),
    (", null]", "]", "11: views[0].panels[0].values.FT: must have 3 values (R, P, C), got 2"),
    (", null]", ", high]", '11: views[0].panels[0].values.FT[2]: must be a number, [mean, s.d.] or null, got "high"'),
    ("{FT: [80", "{F: [80", "11: views[0].panels[0].values: unknown row 'F', did you mean 'FT'?"),
    ("title: FT, ", "", "5: rows.ft: key 'title' is missing"),
    ("of: ft", "of: fft", "6: rows.soup.of: unknown row 'fft', did you mean 'ft'?"),
    ("of: ft", "of: soup", "6: rows.soup.of: must name one row that does not build on this one, got 'soup'"),
    ("a={a}", "a={b}", "6: rows.soup.title: {b} stands for nothing here; known: a"),
    ("a={a}", "a={a", "6: rows.soup.title: cannot be filled"),
    ("a={a}", "a={a:{b}}", "6: rows.soup.title: cannot be filled"),
    ("a={a}", "a={a.real}", "6: rows.soup.title: {a.real} stands for nothing here; known: a"),
    ("method: ft}", "method: ft, like: ft}", "5: rows.ft.like: must not lead back to itself: ft -> ft"),
    ("method: ft}", "method: ft, like: gt}", "5: rows.ft.like: unknown name 'gt'; known: ft, soup"),
    ("method: ft}", "method: ft, recipe: {lrr: 1}}", "5: rows.ft.recipe: unknown recipe key 'lrr', did you mean 'lr'?"),
    ("num_seeds: 3", "num_seeds: 0", "3: scenarios.DomainNet.num_seeds: must be at least 1, got 0"),
    ("num_seeds: 3", "num_images: {a: 3}", "3: scenarios.DomainNet.num_images: unknown domain 'a'"),
    ("dataset: domainnet, ", "", "3: scenarios.DomainNet: key 'dataset' is missing"),
    ("name: mine", "name: ../mine", "8: views[0].name: must start with a letter or digit"),
    ("benchmarks:", "notes: [there]\n    benchmarks:", "10: views[0].notes: unknown note 'there'"),
    ("source: Someone", "sauce: Someone", "1: unknown key 'sauce'"),
]


@pytest.mark.parametrize(("before", "after", "said"), WRONG, ids=[said[:60] for *_, said in WRONG])
def test_what_is_wrong_is_said_with_its_line(before: str, after: str, said: str, tmp_path: Path) -> None:
    found = problems(tmp_path, before, after)
    assert any(said in problem for problem in found) and all(p.startswith("mine.yaml:") for p in found), found


def test_all_problems_are_said_at_once(tmp_path: Path) -> None:
    found = problems(tmp_path, "rows: [ft]", "rows: [a, b], metric: harmonic")
    assert len(found) == 4, found  # two rows, the metric, and the values of a row that is not there


def test_names_of_views_are_taken_once(tmp_path: Path) -> None:
    read(tmp_path)
    (tmp_path / "again.yaml").write_text(SMALL)
    with pytest.raises(ViewError, match=r"mine.yaml: the name 'mine' is taken by .*again.yaml"):
        load_views(sorted(tmp_path.glob("*.yaml")))
    with pytest.raises(ViewError, match=r"views\[1\].name: another view has the name 'mine'"):
        read(tmp_path, SMALL + SMALL.partition("views:\n")[2])


def test_the_papers_here_name_methods_and_values_that_there_are() -> None:
    assert [path.name for path in sorted(FOLDER.glob("*.yaml"))] == ["car_ft_domainbed.yaml", "lipsum_ft.yaml"]
    known, tables = available(), {key[0] for key in published()}
    for view in views().values():
        for panel in view.panels:
            assert not panel.table or panel.table in tables, view.name
            for row in panel.rows:
                assert {row.method, row.of.method if row.of else ""} - {""} <= known.keys(), (view.name, row.title)
                assert not row.table or row.table in tables
    assert len(views()) == 25


def test_a_file_is_read_from_the_folder_without_python(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(SMALL)
    assert list(views(tmp_path)) == ["mine"]
