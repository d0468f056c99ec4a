"""The papers' tables and figures: what is published, what is ours, what may be compared, and what is left blank."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path

import pytest

from orchestrator.records import Results
from orchestrator.report.numbers import fixed
from orchestrator.views import build_views, views
from orchestrator.views.join import FilledView, Line, load
from orchestrator.views.latex import latex, latex_escape
from orchestrator.views.page import html_text
from orchestrator.views.published import FOLDER
from orchestrator.views.text import csv_text, markdown, parts
from tests.orchestrator import view_factory as make
from tests.orchestrator.record_factory import Folder

ACCURACY = (89.0, 66.0, 67.0, 44.0, 55.0)
MEANS = ("shift mean", "Average")
HOSTILE = r"<img src=x onerror=alert(1)> \input{/etc/passwd} | `x` $x_1$ & 100 % ^~ #{}" + "\n\u4e2d"


def fill(results: Folder, root: Path, view: str = "lipsum-table-3") -> FilledView:
    return load(Results(make.write(results, root))).fill(views()[view])


def line(filled: FilledView, title: str, panel: int = 0) -> Line:
    (found,) = [line for line in filled.panels[panel].lines if line.row.title == title]
    return found


def ours(found: Line) -> list[float | None]:
    return [None if cell.ours.mean is None else round(cell.ours.mean, 6) for cell in found.cells]


def cells(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def paper(root: Path) -> FilledView:
    """Table 3 with CAR-FT done, Lipsum-FT half done, the others not run."""
    results = make.folder()
    for seed in range(5):
        made = make.trial(results, "car_ft", seed, make.CAR_FT)
        make.done(results, made, [value + (seed - 2) / 10 for value in ACCURACY])
    for seed in range(5):
        made = make.trial(results, "lipsum_ft", seed, make.LIPSUM_FT)
        if seed < 3:
            make.done(results, made, ACCURACY)
    return fill(results, root)


def test_a_golden_table(tmp_path: Path) -> None:
    text = markdown(paper(tmp_path)).splitlines()
    assert [row for row in text if row.startswith("| ")][1:] == [
        "| CAR-FT | 88.9 ± 0.0 | 89.0 ± 0.2 | +0.1 (s.d. 0.2) | 64.4 ± 0.1 | 66.0 ± 0.2 | +1.6 (s.d. 0.2) | 65.8 ± 0.2 | "
        "67.0 ± 0.2 | +1.2 (s.d. 0.2) | 43.3 ± 0.2 | 44.0 ± 0.2 | +0.7 (s.d. 0.2) | 53.2 ± 0.5 | 55.0 ± 0.2 | +1.8 (s.d. 0.2) | "
        "56.7 | 58.0 ± 0.2 | +1.3 (s.d. 0.2) |",
        "| CAR-FT (MSE) | 88.9 ± 0.1 |  |  | 65.7 ± 0.2 |  |  | "
        "67.1 ± 0.3 |  |  | 44.5 ± 0.2 |  |  | 55.2 ± 0.3 |  |  | 58.1 |  |  |",
        "| Lipsum-FT (KLD) | 89.0 ± 0.0 |  |  | 66.0 ± 0.1 |  |  | "
        "67.7 ± 0.3 |  |  | 45.8 ± 0.2 |  |  | 55.7 ± 0.3 |  |  | 58.8 |  |  |",
        "| Lipsum-FT | 89.0 ± 0.0 |  |  | 66.3 ± 0.2 |  |  | "
        "68.0 ± 0.0 |  |  | 46.0 ± 0.2 |  |  | 56.2 ± 0.2 |  |  | 59.1 |  |  |",
    ]
    assert text[-2:] == [
        "- CAR-FT (MSE), Lipsum-FT (KLD): not run",
        "- Lipsum-FT: 3 of 5 seeds: s3 not run; s4 not run",
    ]
    assert "R\\*: real (the reference: what is fine-tuned on); P: painting; C: clipart;" in "\n".join(text)


def test_csv_has_the_same_numbers_in_full(tmp_path: Path) -> None:
    rows = cells(csv_text(paper(tmp_path)))
    assert len(rows) == 4 * 6
    first = rows[0]
    assert (first["row"], first["column"], first["published"], first["published_sd"]) == ("CAR-FT", "R*", "88.9", "0.0")
    assert (float(first["ours"]), float(first["difference"])) == (pytest.approx(89.0), pytest.approx(0.1))
    assert (first["seeds"], first["comparable"], len(first["trials"].split())) == ("5", "yes", 5)
    assert [(row["ours"], row["comparable"]) for row in rows if row["row"] == "CAR-FT (MSE)"] == [("", "")] * 6
    assert {row["reason"] for row in rows if row["row"] == "Lipsum-FT"} == {"3 of 5 seeds: s3 not run; s4 not run"}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FilledView]:
    joiner = load(Results(tmp_path_factory.mktemp("empty")))
    return {name: joiner.fill(view) for name, view in views().items()}


def test_every_published_value_stands_in_its_view(empty: dict[str, FilledView]) -> None:
    """All 1,061 values of the Lipsum-FT paper, each where its table is, and nothing else."""
    with (FOLDER / "lipsum_ft.csv").open() as file:
        published = list(csv.DictReader(file))
    assert len(published) > 1000
    with (FOLDER / "other.csv").open() as file:
        extra = [row for row in csv.DictReader(file) if row["method"] == "FeatKD"]
    for table in range(1, 12):
        shown = cells(csv_text(empty[f"lipsum-table-{table}"]))
        got = Counter((row["published"], row["published_sd"]) for row in shown if row["column"] not in MEANS)
        want = [r for r in published if r["table"] == str({3: 9}.get(table, table))]
        want = [r for r in want if table != 3 or r["scenario"] == "DomainNet"] + (extra if table == 1 else [])
        numbers = [(repr(float(r["mean"])), repr(float(r["std"])) if r.get("std") else "") for r in want]
        assert got == Counter(numbers), table


def test_published_values_stand_in_the_right_cells(empty: dict[str, FilledView]) -> None:
    def value(view: str, panel: int, row: str, column: int) -> float:
        published = line(empty[view], row, panel).cells[column].published
        assert published
        return published.mean

    assert value("lipsum-table-1", 1, "Lipsum-FT", 3) == 49.9  # ImageNet-A
    assert value("lipsum-table-2", 0, "KD", 0) == 0.006
    assert value("lipsum-table-2", 3, "FT", 4) == 2.550
    assert value("lipsum-table-4", 2, "LP-FT", 4) == 53.3  # DomainNet, L/14, S
    assert value("lipsum-table-5", 1, "EMA", 3) == 19.9  # ImageNet, B/32, A
    assert value("lipsum-table-6", 0, "Lipsum-FT + WiSE, alpha=0.5", 4) == 58.3
    assert value("lipsum-table-7", 0, "TPGM-C, reg=5.0", 0) == 71.3
    twice = [x.cells[0].published for x in empty["lipsum-table-8"].panels[1].lines if x.row.title == "L=8, M=80"]
    assert [published and published.mean for published in twice] == [83.2, 83.3]
    assert value("lipsum-table-10", 3, "KD", 4) == 71.2  # reference S
    assert value("lipsum-table-11", 0, "CAR-FT", 2) == 58.5
    assert value("car-ft-domainbed", 0, "CAR-FT", 3) == 61.9
    assert value("lipsum-figure-14", 0, "WiSE, alpha=1.0", 1) == pytest.approx((72.6 + 68.5 + 39.2 + 48.0) / 4)


def test_every_view_renders_without_results(empty: dict[str, FilledView]) -> None:
    for name, filled in empty.items():
        rows = cells(csv_text(filled))
        assert rows and {row["ours"] for row in rows} == {""} and {row["difference"] for row in rows} == {""}, name
        check_latex(filled)
        assert html_text(filled).split("<noscript>")[-1].split("<script>")[0].count("<table>") == len(filled.panels)
        assert markdown(filled).count("\n## ") == len(filled.panels)


def check_latex(filled: FilledView) -> None:
    """What would keep a document of tables from compiling."""
    text = latex(filled)
    assert text.isascii() and text.count(r"\begin{") == text.count(r"\end{")
    depth = 0
    plain = text.replace(r"\\", "").replace(r"\{", "").replace(r"\}", "")
    for character in plain:
        depth += (character == "{") - (character == "}")
        assert depth >= 0
    assert depth == 0 and plain.replace(r"\$", "").count("$") % 2 == 0
    bodies = [part.split(r"\bottomrule")[0] for part in text.split(r"\midrule")[1:]]
    for body, panel in zip(bodies, filled.panels, strict=True):
        rows = body.strip().split("\n")
        assert {row.replace(r"\&", "").count("&") for row in rows} == {len(parts(panel)) * len(panel.panel.columns)}
        assert all(row.endswith(r" \\") for row in rows) and len(rows) == len(panel.lines)


DIFFERENT = [
    ({"preprocessing": "openai"}, "preprocessing: the short side resized"),
    ({"selection": "reference_val"}, "selection: reference_val; published: reference_test"),
    ({"data": {"val_fraction": 0.1}}, "val split: 10 % of the training images are held out; published: none"),
    ({"data": {"class_names": "spaces"}}, "class names: spaces; published: as_published"),
    ({"recipe": {"lr": 3e-5}}, "recipe.lr: 3e-05; published: 1e-05"),
    ({"recipe": {"num_steps": 100}}, "recipe.num_steps: 100; published: 5000"),
    ({"recipe": {"eval_every": 5000}}, "recipe.eval_every: 5000; published: 1000"),
    ({"recipe": {"beta2": 0.9}}, "recipe.beta2: 0.9; published: 0.999"),
    ({"recipe": {"eps": 1e-3}}, "recipe.eps: 0.001; published: 1e-08"),
    ({"recipe": {"optimizer": "adamw", "weight_decay": 0.1}}, "recipe.optimizer: adamw"),
]


@pytest.mark.parametrize(("fields", "said"), DIFFERENT, ids=lambda value: str(value)[:40])
def test_another_protocol_is_named_and_not_compared(fields: dict, said: str, tmp_path: Path) -> None:
    results = make.folder()
    make.done(results, make.trial(results, "car_ft", 0, make.CAR_FT, **fields), ACCURACY)
    filled = fill(results, tmp_path)
    found = line(filled, "CAR-FT")
    assert len(found.differences) == len({**fields.get("recipe", {"": 0})}) and found.differences[0].startswith(said)
    assert not any(cell.comparable for cell in found.cells)
    assert "| +0.1 (not comparable) |" in markdown(filled)
    assert "- CAR-FT: not comparable: " + said in markdown(filled)
    assert {row["comparable"] for row in cells(csv_text(filled)) if row["row"] == "CAR-FT"} == {"no"}
    assert html_text(filled).count('class="against"') == 6 and "+0.1 (not comparable)" in latex(filled)


def test_adamw_without_decay_is_adam(tmp_path: Path) -> None:
    results = make.folder()
    made = make.trial(results, "car_ft", 0, make.CAR_FT, recipe={"optimizer": "adamw", "weight_decay": 0.0})
    make.done(results, made, ACCURACY)
    assert not line(fill(results, tmp_path), "CAR-FT").differences


def test_an_average_that_the_paper_prints(empty: dict[str, FilledView]) -> None:
    """Table 10's Average has the reference in it; CAR-FT's is over the five datasets; Table 4's is the shift mean."""

    def last(view: str, panel: int, row: str) -> tuple[str, str]:
        filled = empty[view].panels[panel]
        published = line(empty[view], row, panel).cells[-1].published
        assert published
        return filled.panel.columns[-1].title, fixed(published.mean, 1)

    assert last("lipsum-table-10", 0, "FT") == ("Average", "60.4")
    assert last("lipsum-table-10", 1, "Lipsum-FT") == ("Average", "66.0")
    assert last("lipsum-table-4", 0, "FT") == ("shift mean", "49.8")
    assert last("car-ft-domainbed", 0, "CAR-FT") == ("Average", "78.5")
    assert last("car-ft-domainbed", 0, "Zero-shot") == ("Average", "69.0")


def test_the_sd_of_feat_kd_is_published_as_well(empty: dict[str, FilledView]) -> None:
    """Section B.3: {83.1, 73.1, 72.0, 43.4, 49.9}, s.d. {0.1, 0.2, 0.1, 0.3, 0.2}."""
    found = [cell.published for cell in line(empty["lipsum-table-1"], "FeatKD", 1).cells[:5]]
    assert [value and value.sd for value in found] == [0.1, 0.2, 0.1, 0.3, 0.2]


def test_figures_of_energies_have_every_method_of_section_4_2(empty: dict[str, FilledView]) -> None:
    for name in ("lipsum-figure-4", "lipsum-figure-13"):
        titles = [found.row.title for found in empty[name].panels[0].lines]
        assert titles == ["FT", "EMA", "L2SP", "KD", "CAR-FT", "Lipsum-FT", "WiSE, alpha=0.9", "TPGM"]


def test_settings_that_the_paper_does_not_state_are_said(empty: dict[str, FilledView]) -> None:
    for number in (1, 2, 3, 5, 9, 10):
        assert "strengths of L2SP, KD, CAR-FT" in markdown(empty[f"lipsum-table-{number}"]), number


def test_another_revision_of_the_data_is_known_by_its_images(tmp_path: Path) -> None:
    results = make.folder()
    original = {**make.COUNTS, "real": 52764}
    make.done(results, make.trial(results, "car_ft", 0, make.CAR_FT), ACCURACY, counts=original)
    (said,) = line(fill(results, tmp_path), "CAR-FT").differences
    assert said.startswith("dataset revision: 52,764 test images of real; published: 52,041")


def test_fewer_seeds_are_a_remark_and_comparable(tmp_path: Path) -> None:
    results = make.folder()
    make.done(results, make.trial(results, "car_ft", 0, make.CAR_FT), ACCURACY)
    found = line(fill(results, tmp_path), "CAR-FT")
    assert found.remarks == ("seeds: 1, published 5",) and not found.differences


def test_generalised_zero_shot(tmp_path: Path) -> None:
    results = make.folder("lipsum_table_11", "cub", ("seen", "unseen"))
    made = make.trial(results, "ft", data={"sources": ("seen",)}, recipe={"freeze_head": True})
    results.measured(
        made, {("seen", "test"): 70, ("unseen", "test"): 20}, {("seen", "test"): 60, ("unseen", "test"): 30}
    )
    frozen = line(fill(results, tmp_path / "frozen", "lipsum-table-11"), "FT")
    assert ours(frozen) == [60.0, 30.0, 40.0] and not [text for text in frozen.differences if text.startswith("recipe")]

    results = make.folder("lipsum_table_11", "cub", ("seen", "unseen"))
    made = make.trial(results, "ft", data={"sources": ("seen",)})
    results.measured(
        made, {("seen", "test"): 70, ("unseen", "test"): 20}, {("seen", "test"): 60, ("unseen", "test"): 30}
    )
    moved = line(fill(results, tmp_path / "moved", "lipsum-table-11"), "FT")
    assert "recipe.freeze_head: False; published: True" in moved.differences


def test_distortion_and_energy_against_relative_accuracy(tmp_path: Path) -> None:
    results = make.folder("lipsum_table_1_domainnet")
    for index, (method, settings) in enumerate((("ft", {}), ("ema", {}), ("kd", {}), ("car_ft", make.CAR_FT))):
        made = make.trial(results, method, 0, settings)
        make.done(results, made, (80.0, 60.0 - 4 * index, 40.0, 40.0, 40.0))
        record = results.records[made.id]
        moved = {"energy_gap": 0.01 * index, "feature_distortion": 0.25}
        told = tuple(e.model_copy(update=moved if method != "kd" else {}) for e in record.evaluations)
        results.records[made.id] = record.model_copy(update={"evaluations": told})
    filled = fill(results, tmp_path, "lipsum-figure-4")
    assert ours(line(filled, "FT"))[:4] == [0.0, 0.75, 0.0, 0.5]
    assert ours(line(filled, "KD"))[:2] == [None, 0.6500] and "has no energy gap" in line(filled, "KD").remarks[0]
    assert filled.panels[0].notes[0] == "P energy gap and P relative accuracy: Pearson correlation -1.00 over 3 rows"
    assert filled.panels[0].notes[1] == "C energy gap and C relative accuracy: no correlation, 3 rows"
    assert "-1.00 over 3 rows" in markdown(filled)
    check_latex(filled)
    assert ours(line(load(Results(tmp_path)).fill(views()["lipsum-figure-3"]), "FT")) == [0.25] * 6


def test_a_reference_of_zero_percent_has_no_relative_accuracy(tmp_path: Path) -> None:
    """A collapsed training: the cell is empty and says why, and the view is made."""
    results = make.folder("lipsum_table_1_domainnet")
    make.done(results, make.trial(results, "ft"), (0.0, 60.0, 40.0, 40.0, 40.0))
    filled = fill(results, tmp_path, "lipsum-figure-4")
    assert ours(line(filled, "FT"))[1::2] == [None] * 4
    assert any("its accuracy on real is 0" in text for text in line(filled, "FT").remarks)
    assert len(build_views(tmp_path, "lipsum-figure-4")) == 4


def test_names_from_records_do_nothing(tmp_path: Path) -> None:
    results = make.folder()
    results.failed(make.trial(results, "car_ft", 0, make.CAR_FT), message=HOSTILE)
    filled = fill(results, tmp_path)
    page, tables, document = html_text(filled), markdown(filled), latex(filled)
    assert "<img" not in page and "&lt;img src=x" in page and "<script" not in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert "<img" not in tables and len([row for row in tables.splitlines() if row.startswith("| CAR-FT |")]) == 1
    assert r"\input" not in document and r"\textbackslash{}input\{/etc/passwd\}" in document
    check_latex(filled)
    assert latex_escape("50 % of a_b & {x} \u4e2d") == r"50 \% of a\_b \& \{x\} (U+4E2D)"


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    paper(tmp_path)
    first = {path.name: path.read_bytes() for path in build_views(tmp_path, "lipsum-table-3")}
    assert sorted(first) == [f"lipsum-table-3.{suffix}" for suffix in ("csv", "html", "md", "tex")]
    assert first == {path.name: path.read_bytes() for path in build_views(tmp_path, "lipsum-table-3")}


def test_a_published_mean_is_said_to_be_ours_and_halves_round_alike(tmp_path: Path) -> None:
    """Zero-shot of Table 1: 66.7, 65.6, 43.8 and 56.9 have the mean 58.25, however it is summed."""
    results = make.folder("lipsum_table_1_domainnet")
    counts = dict.fromkeys(make.COUNTS, 1000)
    make.done(results, make.trial(results, "zero_shot"), (82.5, 66.7, 65.6, 43.8, 56.9), counts=counts)
    text = markdown(fill(results, tmp_path, "lipsum-table-1"))
    assert "Published shift mean: the mean, taken here, of the paper's rounded cells." in text
    (row,) = [row for row in text.splitlines() if row.startswith("| Zero-shot |")][:1]
    assert row.split(" | ")[-3:-1] == ["58.3", "58.3"] and row.split(" | ")[-1].startswith("0.0")


@pytest.mark.parametrize(
    ("value", "text"), [(58.25, "58.3"), (58.249999999999986, "58.3"), (58.24, "58.2"), (-0.05, "-0.1"), (0.0, "0.0")]
)
def test_halves_are_rounded_away_from_zero(value: float, text: str) -> None:
    assert fixed(value, 1) == text
    assert fixed(float("nan"), 1) == "nan" and fixed(float("inf"), 1) == "inf"
