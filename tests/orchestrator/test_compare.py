"""Two rows are compared image by image and seed by seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from orchestrator.analysis.compare import MEAN, CompareError, Side, compare, pick, sides
from orchestrator.analysis.predictions import PredictionsError, read_predictions
from orchestrator.analysis.statistics import PairedBootstrap
from orchestrator.cli import app
from orchestrator.records import Results, load_plans, load_records
from orchestrator.report import read_board
from orchestrator.spec import TransferRef
from tests.orchestrator.outcome_factory import write_outcomes, write_results
from tests.orchestrator.record_factory import DOMAINS, NUM_IMAGES, Folder

RATES = {"zero_shot": 0.5, "ft": 0.6, "better": 0.7}


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return write_results(tmp_path, RATES)


def known(results: Results) -> list[Side]:
    return list(sides(load_plans(results), load_records(results)))


def test_a_better_row_is_better_everywhere_and_says_by_how_much(results: Results) -> None:
    better, ft = pick(known(results), "better", "ft", None, None, None)
    found = {c.domain: c for c in compare(results, better, ft)}
    assert list(found) == [*DOMAINS, MEAN]
    for domain, c in found.items():
        assert c.estimate.low < 0.7 - 0.54 < c.estimate.high, domain
        assert c.adjusted_p < 0.05
        assert c.estimate.num_seeds == 3
    clipart = found["clipart"]
    assert clipart.classes[0][0] == 0  # the class that ft never gets
    assert clipart.classes[0][1] == pytest.approx(0.7, abs=0.1)
    paths = [[results.trial(s.seeds[seed]) / "predictions.parquet" for seed in (0, 1, 2)] for s in (better, ft)]
    right = [[read_predictions(path, "", "clipart").correct for path in row] for row in paths]
    assert clipart.only_first == sum(int((a & ~b).sum()) for a, b in zip(*right, strict=True))
    assert clipart.only_second == sum(int((b & ~a).sum()) for a, b in zip(*right, strict=True))
    assert found[MEAN].estimate.num_images == 4 * NUM_IMAGES  # the reference domain is not part of it


def test_a_row_that_is_one_for_all_seeds_is_paired_with_each(results: Results) -> None:
    for name in ("zero_shot", "soup of ft"):
        one, ft = pick(known(results), name, "ft", None, None, None)
        [c] = compare(results, one, ft, ["sketch"])
        assert c.estimate.num_seeds == 3


def test_a_row_does_not_differ_from_itself(results: Results) -> None:
    ft, again = pick(known(results), "ft", "ft", None, None, None)
    for c in compare(results, ft, again):
        assert (c.estimate.value, c.adjusted_p, c.only_first, c.only_second, c.classes) == (0.0, 1.0, 0, 0, ())


def test_unknown_names_and_domains_are_said(results: Results) -> None:
    with pytest.raises(CompareError, match=r"no finished row 'fx'.*known: better, ft, soup of ft, zero_shot"):
        pick(known(results), "fx", "ft", None, None, None)
    ft, better = pick(known(results), "ft", "better", None, None, None)
    with pytest.raises(CompareError, match=r"'ft' was not measured on 'mars'; it was on real, painting"):
        compare(results, ft, better, ["mars"])
    record = ft.records[0]
    data = record.spec.data.model_copy(update={"transfer": (TransferRef(name="food101", identity="", domains=()),)})
    spec = record.spec.model_copy(update={"data": data})
    ft = replace(ft, records={**ft.records, 0: record.model_copy(update={"spec": spec})})
    with pytest.raises(CompareError, match=r"^'food101' is a dataset of transfer.* compared on real, painting"):
        compare(results, ft, better, ["food101"])


def test_other_images_are_never_paired(results: Results) -> None:
    (trial,) = [t for t in load_plans(results)[0].trials if (t.label, t.spec.seed) == ("better", 1)]
    write_outcomes(results, trial, 0.5, np.random.default_rng(1), keys="other")
    ft, better = pick(known(results), "ft", "better", None, None, None)
    with pytest.raises(PredictionsError, match="its images of real are others than those of 'ft'"):
        compare(results, ft, better)
    (results.trial(trial.id) / "predictions.parquet").unlink()
    with pytest.raises(PredictionsError, match="does not exist"):
        compare(results, ft, better)


def test_two_tables_need_a_choice(tmp_path: Path) -> None:
    folder = Folder()
    for source in ("real", "sketch"):
        for label in ("ft", "better"):
            folder.done(folder.trial(label, sources=(source,)), (50.0,) * 5)
    rows = list(sides(folder.plans(), load_records(Results(folder.write(tmp_path)))))
    with pytest.raises(CompareError, match=r"several tables: demo, tiny, reference real; demo, tiny, reference sketch"):
        pick(rows, "ft", "better", None, None, None)
    assert pick(rows, "ft", "better", None, None, "sketch")[0].sources == ("sketch",)


def test_the_command_prints_differences_and_classes(results: Results) -> None:
    done = CliRunner().invoke(app, ["compare", "better", "ft", "--on", "sketch", "--results", str(results.root)])
    assert done.exit_code == 0, done.output
    assert "better minus ft (demo, tiny, reference real)" in done.output
    assert "3 seeds, paired" in done.output
    assert "sketch: gains class 0 +" in done.output
    assert "painting" not in done.output


def test_the_command_refuses_wrong_names_with_exit_code_2(results: Results, tmp_path: Path) -> None:
    typo = CliRunner().invoke(app, ["compare", "bettr", "ft", "--results", str(results.root)])
    assert (typo.exit_code, typo.stdout) == (2, "")
    assert "no finished row 'bettr', did you mean 'better'?" in typo.stderr
    empty = CliRunner().invoke(app, ["compare", "a", "b", "--results", str(tmp_path / "none")])
    assert empty.exit_code == 2
    assert "holds no plans" in empty.stderr


def test_one_comparison_has_one_interval_whatever_stands_beside_it(results: Results) -> None:
    """With other domains, in another order, by itself, and on the page."""
    better, ft = pick(known(results), "better", "ft", None, None, None)
    asked = (None, ["real"], ["sketch", "real"], ["real", "sketch"], ["painting", "infograph", "real"])
    found = [next(c for c in compare(results, better, ft, on) if c.domain == "real").estimate for on in asked]
    assert len({(estimate.low, estimate.high, estimate.p) for estimate in found}) == 1
    (table,) = read_board(results.root).tables
    assert table.statistics is not None and table.baseline is not None and table.baseline.name == "ft"
    row = table.statistics.rows[[row.name for row in table.rows].index("better")].to_baseline.reference
    assert row and (row.low, row.high, row.p) == pytest.approx((found[0].low, found[0].high, found[0].p), rel=1e-6)


def test_a_wrong_option_is_named_and_not_the_row(results: Results) -> None:
    rows = known(results)
    for option, message in (
        (("x", None, None), r"--benchmark 'x': no finished row 'ft' is of it; known: demo"),
        ((None, "tinny", None), r"--model 'tinny': no finished row 'ft' is of it, did you mean 'tiny'\? known: tiny"),
        ((None, None, "sketch"), r"--source 'sketch': no finished row 'ft' is of it; known: real"),
    ):
        with pytest.raises(CompareError, match=message):
            pick(rows, "ft", "better", *option)


def test_options_that_hold_only_one_by_one_are_said_with_where_the_row_stands(results: Results) -> None:
    (side,) = [side for side in known(results) if side.name == "ft"]
    rows = [replace(side, model="a", sources=("real",)), replace(side, model="b", sources=("sketch",))]
    with pytest.raises(CompareError, match=r"'ft' with --model a --source sketch together; it stands in demo, a, ref"):
        pick(rows, "ft", "ft", None, "a", "sketch")


def test_names_that_begin_with_what_was_typed_come_first(results: Results) -> None:
    (side,) = [side for side in known(results) if side.name == "ft"]
    names = [f"a{i}" for i in range(30)] + ["lipsum_ft", "wise_ft of ft, alpha=0.5", "wise_ft of ft, alpha=0.7"]
    rows = [replace(side, name=name) for name in names]
    with pytest.raises(CompareError) as error:
        pick(rows, "wise_ft", "lipsum_ft", None, None, None)
    assert str(error.value) == (
        "no finished row 'wise_ft'; those that begin so: 'wise_ft of ft, alpha=0.5', 'wise_ft of ft, alpha=0.7'"
    )


@pytest.mark.parametrize("words", [["compare", "better", "ft", "--results"], ["report"]])
def test_a_bug_is_no_wrong_input(results: Results, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("operands could not be broadcast together")

    monkeypatch.setattr(PairedBootstrap, "__init__", broken)
    done = CliRunner().invoke(app, [*words, str(results.root)])
    assert done.exit_code == 1 and isinstance(done.exception, ValueError)
    monkeypatch.undo()
    next((results.root / "plans").glob("*.json")).write_text("{}")
    done = CliRunner().invoke(app, [*words, str(results.root)])
    assert done.exit_code == 2 and "not a plan this version can read" in done.stderr


def test_a_domain_named_twice_is_one_test(results: Results) -> None:
    one, two = pick(known(results), "better", "ft", None, None, None)
    assert compare(results, one, two, ["sketch", "sketch"]) == compare(results, one, two, ["sketch"])


def test_seeds_that_are_missing_and_rows_without_any_are_said(results: Results) -> None:
    lost = [path for path in results.root.glob("trials/*/record.json") if path.parent.name.startswith("better-")]
    lost[1].unlink()
    words = ["compare", "better", "ft", "--results", str(results.root), "--on", "sketch"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "A: better; B: ft; 2 seeds, paired." in done.stdout
    seed = lost[1].parent.name.split("-")[-2]
    line = f"WARNING better is not complete, {seed} not finished: the leaderboard shows no mean of it"
    assert line in " ".join(done.stdout.split()) and "WARNING ft" not in done.stdout
    for path in (lost[0], lost[2]):
        path.unlink()
    done = CliRunner().invoke(app, words)
    why = "row 'better' has no finished trial: python -m orchestrator status says whether it failed, is stale or was not run\n"
    assert (done.exit_code, done.stderr) == (2, why)
