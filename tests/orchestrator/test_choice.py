"""Rules of a report: rows kept by the rule that chose their weights, and the best points of grids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from orchestrator.analysis.aggregate import Board, aggregate
from orchestrator.analysis.choice import Rule, restrict
from orchestrator.cli import app
from orchestrator.records import Loaded, Results, TracePoint, load_records
from orchestrator.report import read_board
from orchestrator.report.export import markdown
from orchestrator.report.page import html_text
from orchestrator.spec import trial_id
from tests.orchestrator.outcome_factory import guesses, leave
from tests.orchestrator.record_factory import Folder

DOMAINS = ("real", "sketch")
VAL, TEST = ("real", "val"), ("real", "test")
SHIFT = ("sketch", "test")
BEST = "lipsum_ft, best of grid on reference validation"
ORACLE = "lipsum_ft, oracle: best of grid on the shifted domains that are reported"
POINTS = {0.1: (80, 60, 40), 0.3: (82, 50, 45), 1.0: (70, 90, 50)}
"""strength -> percent on held-out real, on real, on sketch: the rules that could choose disagree"""


def grid(skip: tuple[float, int] | None = None, sources: tuple[str, ...] = ("real",)) -> Folder:
    folder = Folder(domains=DOMAINS)
    folder.done(folder.trial("zero_shot", kind="reference"), (50, 50))
    for source in sources:
        for strength, (val, test, shift) in POINTS.items():
            for seed in (0, 1):
                trial = folder.trial(
                    f"lipsum_ft strength={strength}",
                    seed,
                    method="lipsum_ft",
                    settings={"s": strength},
                    sources=[source],
                )
                if (strength, seed) != skip:
                    other = next(d for d in DOMAINS if d != source)
                    folder.measured(
                        trial,
                        {(source, "val"): val + seed, (source, "test"): test + seed, (other, "test"): shift + seed},
                    )
    return folder


def board(folder: Folder, rule: Rule) -> Board:
    return aggregate(*restrict(folder.plans(), Loaded(folder.records), rule), rule)


def with_rules() -> Folder:
    """Trials of two rules, something built on each, and zero-shot."""
    folder = Folder()
    folder.done(folder.trial("zero_shot", kind="reference"), (1, 2, 3, 4, 5))
    for label, rule in (("ft", "reference_val"), ("ft test", "reference_test")):
        trial = folder.trial(label, method="ft")
        spec = trial.spec.model_copy(update={"selection": rule})
        folder.plan[-1] = trial = trial.model_copy(update={"spec": spec, "id": trial_id(spec)})
        folder.done(trial, (1, 2, 3, 4, 5))
        folder.done(folder.trial("wise_ft", kind="post_hoc", of=label, inputs=[trial.id]), (1, 2, 3, 4, 5))
    return folder


def test_a_rule_keeps_what_it_chose_what_builds_on_it_and_what_does_not_train() -> None:
    found = board(with_rules(), "reference_test")
    assert [row.name for row in found.tables[0].rows] == ["zero_shot", "ft test", "wise_ft of ft test"]
    assert found.unplanned == ()
    assert found.rule == "reference_test"
    note = "Shown: only weights chosen by reference_test: "
    for text in (html_text(found), markdown(found)):
        assert note in text and "selects on the reported split" in text
    text = markdown(board(with_rules(), "reference_val"))
    assert "Shown: only weights chosen by reference_val: " in text and "selects on" not in text


def test_inferred_plans_are_restricted_too() -> None:
    plans, loaded = restrict([], Loaded(with_rules().records), "reference_val")
    assert plans == []
    assert {r.spec.selection for r in loaded.records.values() if r.spec.recipe} == {"reference_val"}
    assert len(loaded.records) == 3


def test_a_rule_that_chose_nothing_is_wrong_input_that_says_what_there_is(tmp_path: Path) -> None:
    with_rules().write(tmp_path)
    result = CliRunner().invoke(app, ["report", str(tmp_path), "--selection", "last"])
    assert result.exit_code == 2
    assert result.stderr.startswith(
        "no trial here has weights that were chosen by 'last'; there are: reference_test, reference_val (the rule is"
    )
    assert not list(tmp_path.glob("leaderboard*"))


@pytest.mark.parametrize(
    ("rule", "label", "shift"),
    [("reference_val", f"{BEST}: strength=0.3", 0.455), ("oracle", f"{ORACLE}: strength=1.0", 0.505)],
)
def test_the_point_is_chosen_by_what_the_rule_allows(rule: Rule, label: str, shift: float) -> None:
    found = board(grid(), rule)
    rows = {row.label: row for row in found.tables[0].rows}
    assert list(rows) == ["zero_shot", *(f"lipsum_ft strength={s}" for s in POINTS), label]
    assert rows[label].shift.mean == pytest.approx(shift)
    assert rows[label].shift.n == 2
    assert len(found.outcomes) == 7  # the same trials: nothing is counted twice


def test_without_a_rule_and_with_one_that_chooses_no_point_there_is_no_such_row() -> None:
    folder = grid()
    assert len(aggregate(folder.plans(), Loaded(folder.records)).tables[0].rows) == 4
    spec_of = {t.id: t for t in folder.plan if t.spec.recipe}
    assert spec_of
    assert len(aggregate(folder.plans(), Loaded(folder.records), "last").tables[0].rows) == 4


def test_no_point_is_chosen_from_an_incomplete_grid() -> None:
    [row] = [r for r in board(grid(skip=(1.0, 1)), "reference_val").tables[0].rows if r.label.startswith(BEST)]
    assert row.label == BEST
    assert row.shift.mean is None
    assert row.shift.missing[0] == "no point is chosen: lipsum_ft strength=1.0, seed 1: not run"


def test_records_without_held_out_images_give_no_choice() -> None:
    folder = Folder()
    for strength in (0.1, 0.3):
        trial = folder.trial(f"lipsum_ft strength={strength}", method="lipsum_ft", settings={"s": strength})
        folder.done(trial, (1, 2, 3, 4, 5))
    [row] = [r for r in board(folder, "reference_val").tables[0].rows if r.label.startswith(BEST)]
    why = "no point is chosen: lipsum_ft strength=0.1, seed 0 has no held-out accuracy of its sources"
    assert row.reference.missing[0] == why


def test_each_reference_domain_has_its_own_choice() -> None:
    folder = grid(sources=DOMAINS)
    for trial in folder.plan:  # on sketch the weakest regulariser is best
        if trial.spec.data.sources == ("sketch",) and trial.spec.settings["s"] == 0.1:
            folder.measured(trial, {("sketch", "val"): 99, ("sketch", "test"): 10, ("real", "test"): 20})
    by_source = {table.sources: table.rows[-1].label for table in board(folder, "reference_val").tables}
    assert by_source == {("real",): f"{BEST}: strength=0.3", ("sketch",): f"{BEST}: strength=0.1"}


def test_where_each_domain_is_held_out_one_row_joins_the_choices() -> None:
    folder = grid(sources=DOMAINS)
    folder.leave_one_out = True
    for trial in folder.plan:
        if trial.spec.data.sources == ("sketch",) and trial.spec.settings["s"] == 0.1:
            folder.measured(trial, {("sketch", "val"): 99, ("sketch", "test"): 10, ("real", "test"): 20})
    row = board(folder, "reference_val").tables[0].rows[-1]
    assert row.label == f"{BEST} (for each held-out domain its own)"
    assert row.accuracy["real"].mean == pytest.approx(0.20)
    assert row.accuracy["sketch"].mean == pytest.approx(0.455)


def test_the_page_says_the_rule_and_leaves_the_whole_board_where_it_is(tmp_path: Path) -> None:
    root = grid().write(tmp_path)
    assert CliRunner().invoke(app, ["report", str(root)]).exit_code == 0
    whole = {path: path.read_bytes() for path in root.glob("leaderboard*")}
    assert CliRunner().invoke(app, ["report", str(root), "--selection", "reference_val"]).exit_code == 0
    result = CliRunner().invoke(app, ["report", str(root), "--selection", "oracle"])
    assert result.exit_code == 0, result.output
    assert result.stdout.split()[0] == str(root / "leaderboard.oracle.html")
    assert len(whole) == 4 and all(path.read_bytes() == content for path, content in whole.items())
    assert len(list(root.glob("leaderboard.reference_val*"))) == 4
    for name in ("leaderboard.oracle.html", "leaderboard.oracle.md"):
        assert f"{ORACLE}: strength=1.0" in (root / name).read_text()
        assert "no method can have it" in (root / name).read_text()


def with_alphas() -> Folder:
    """FT of two seeds and WiSE-FT of each: the alphas that held-out images and the shifted domain would choose differ."""
    folder = Folder(domains=DOMAINS)
    folder.done(folder.trial("zero_shot", kind="reference"), (50, 50))
    for seed in (0, 1):
        ft = folder.trial("ft", seed)
        folder.measured(ft, {VAL: 80, TEST: 80, SHIFT: 40})
        wise = folder.trial("wise_ft", seed, kind="post_hoc", of="ft", inputs=[ft.id])
        record = folder.measured(wise, {VAL: 1, TEST: 1, SHIFT: 1})
        percents = {0.3: (70, 70, 55), 0.6: (84, 60, 45), 1.0: (80, 80, 40)}
        evaluations = tuple(
            e.model_copy(update={"variant": f"alpha={alpha}", "num_correct": 10 * right, "accuracy": right / 100})
            for alpha, percent in percents.items()
            for e, right in zip(record.evaluations, percent, strict=True)
        )
        variants = {f"alpha={alpha}": {"alpha": alpha} for alpha in percents}
        folder.records[wise.id] = record.model_copy(update={"evaluations": evaluations, "variants": variants})
    return folder


@pytest.mark.parametrize(("rule", "alpha", "shift"), [("reference_val", 0.6, 0.45), ("oracle", 0.3, 0.55)])
def test_the_variants_of_a_record_are_points_too(rule: Rule, alpha: float, shift: float) -> None:
    rows = board(with_alphas(), rule).tables[0].rows
    assert [row.name for row in rows[:5]] == [
        "zero_shot",
        "ft",
        *(f"wise_ft of ft, alpha={a}" for a in (0.3, 0.6, 1.0)),
    ]
    (row,) = rows[5:]
    assert row.name.startswith("wise_ft, ") and row.name.endswith(f": alpha={alpha} of ft")
    assert row.shift.mean == pytest.approx(shift) and row.shift.n == 2
    assert row.chosen and not any(other.chosen for other in rows[:5])


def test_no_alpha_is_chosen_while_a_seed_is_missing() -> None:
    folder = with_alphas()
    del folder.records[folder.plan[-1].id]
    (row,) = [row for row in board(folder, "oracle").tables[0].rows if row.chosen]
    assert row.shift.mean is None
    assert row.shift.missing[0] == "no point is chosen: wise_ft, alpha=0.3, seed 1: not run"


def test_a_chosen_row_has_the_outcomes_of_its_alpha_and_is_no_rival(tmp_path: Path) -> None:
    results, rng = Results(with_alphas().write(tmp_path)), np.random.default_rng(0)
    for id, record in load_records(results).records.items():
        found = {}
        for e in record.evaluations:
            labels = np.arange(500) % 10
            right = rng.random(500) < e.accuracy
            found[e.variant, e.domain, e.split] = guesses(
                [f"{e.domain}{e.split}{i}" for i in range(500)], labels, right
            )
        leave(results, id, found)
    (plain,) = read_board(tmp_path).tables
    (table,) = read_board(tmp_path, "oracle").tables
    assert plain.statistics is not None and table.statistics is not None
    (chosen,) = table.statistics.rows[5:]
    same = table.statistics.rows[2]
    assert same.shift and (chosen.shift, chosen.domains, chosen.ece) == (same.shift, same.domains, same.ece)
    assert chosen.why == "" and chosen.rank is None
    assert [row.rank for row in table.statistics.rows[:5]] == [row.rank for row in plain.statistics.rows]
    assert table.statistics.num_ranked == plain.statistics.num_ranked == 5
    assert (
        chosen.to_baseline.shift and same.to_baseline.shift and chosen.to_baseline.shift.p == same.to_baseline.shift.p
    )
    assert chosen.to_baseline.shift.adjusted_p is None
    assert same.to_baseline == plain.statistics.rows[2].to_baseline, "Holm's adjustment too is over the others alone"


def ended(steps: dict[str, int]) -> Folder:
    """A trial of two seeds each of 100 steps, by name and the step that was chosen; WiSE-FT of each."""
    folder = Folder()
    folder.done(folder.trial("zero_shot", kind="reference"), (1, 2, 3, 4, 5))
    for name, step in steps.items():
        trial = folder.trial(name)
        record = folder.done(trial, (5, 4, 3, 2, 1))
        trace = tuple(TracePoint(step=at, split="val", accuracy=0.5, nll=1.0) for at in (0, 50, 100))
        folder.records[trial.id] = record.model_copy(update={"selected_step": step, "trace": trace})
        folder.done(folder.trial("wise_ft", kind="post_hoc", of=name, inputs=[trial.id]), (1, 2, 3, 4, 5))
    return folder


def test_last_admits_what_another_rule_chose_at_the_last_step_and_says_why_not_of_the_rest() -> None:
    folder = ended({"late": 100, "early": 50})
    found = board(folder, "last")
    rows = {row.name: row for row in found.tables[0].rows}
    assert list(rows) == ["zero_shot", "late", "wise_ft of late", "early", "wise_ft of early"]
    assert all(rows[name].shift.mean is not None for name in ("zero_shot", "late", "wise_ft of late"))
    why = "its weights are not of the last step, 100: reference_val chose step 50"
    assert rows["early"].shift.missing == {0: why}
    early = next(trial.id for trial in folder.plan if trial.label == "early")
    assert rows["wise_ft of early"].shift.missing == {0: f"built on {early}: {why}"}
    assert "also those that another rule chose at the last step" in markdown(found) and why in markdown(found)


def test_an_early_record_without_a_trace_is_held_against_the_steps_of_its_recipe() -> None:
    folder = ended({"late": 150, "early": 100})
    for id, record in folder.records.items():
        folder.records[id] = record.model_copy(update={"trace": ()})
    rows = {row.name: row for row in board(folder, "last").tables[0].rows}
    assert rows["late"].shift.mean is not None and rows["early"].shift.mean is None, "the recipe has 150 steps"
