"""Hand-made records in, exact numbers out."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.analysis.aggregate import Board, Table, aggregate
from orchestrator.analysis.rows import Row
from orchestrator.analysis.series import Series, combine, difference
from orchestrator.records import Loaded
from tests.orchestrator.record_factory import Folder, demo, incomplete

DOMAINS = ("real", "clipart", "sketch")


def board(folder: Folder, plans: bool = True) -> Board:
    return aggregate(folder.plans() if plans else [], Loaded(records=dict(folder.records)))


def row(table: Table, name: str) -> Row:
    return next(row for row in table.rows if row.name == name)


def small() -> Folder:
    """Zero-shot and two methods with two seeds; numbers that can be checked in the head."""
    folder = Folder(domains=DOMAINS)
    folder.done(folder.trial("zero_shot", kind="reference"), (50, 60, 40))
    folder.done(folder.trial("ft", 0), (70, 50, 30))
    folder.done(folder.trial("ft", 1), (74, 54, 30))
    folder.done(folder.trial("lipsum_ft", 0), (69, 58, 38))
    folder.done(folder.trial("lipsum_ft", 1), (75, 60, 40))
    return folder


def test_means_and_standard_deviations_over_seeds() -> None:
    (table,) = board(small()).tables
    ft = row(table, "ft")
    assert table.sources == ("real",)
    assert table.shifted == ("clipart", "sketch")
    assert ft.accuracy["real"].mean == pytest.approx(0.72)
    assert ft.accuracy["real"].sd == pytest.approx(0.04 / 2**0.5), "ddof = 1"
    assert ft.accuracy["sketch"].sd == 0
    assert ft.shift.values == pytest.approx({0: 0.40, 1: 0.42})
    assert ft.shift.mean == pytest.approx(0.41)
    assert ft.shift.n == 2
    assert ft.shift_nll.values == pytest.approx({0: 1.60, 1: 1.58})


def test_a_single_seed_has_a_mean_and_no_deviation() -> None:
    zero_shot = row(board(small()).tables[0], "zero_shot")
    assert zero_shot.shift.mean == pytest.approx(0.5)
    assert zero_shot.shift.sd is None
    assert zero_shot.shift.n == 1
    assert zero_shot.shift.constant


def test_differences_are_paired_by_seed() -> None:
    (table,) = board(small()).tables
    index = table.rows.index(row(table, "lipsum_ft"))
    to_ft = table.to_baseline[index]
    assert to_ft.reference.values == pytest.approx({0: -0.01, 1: 0.01})
    assert to_ft.reference.mean == pytest.approx(0)
    assert to_ft.reference.sd == pytest.approx(statistics.stdev([-0.01, 0.01]))
    assert to_ft.shift.values == pytest.approx({0: 0.08, 1: 0.08})
    assert to_ft.shift.sd == pytest.approx(0, abs=1e-12), "the seeds move together"
    to_zero_shot = table.to_zero_shot[index]
    assert to_zero_shot.shift.values == pytest.approx({0: -0.02, 1: 0.0}), "one value is subtracted from every seed"


def test_a_row_is_not_compared_with_itself() -> None:
    (table,) = board(small()).tables
    own = table.to_baseline[table.rows.index(row(table, "ft"))].shift
    assert own.mean is None
    assert own.why == "the row compared with"
    assert table.to_baseline[0].shift.values == pytest.approx({0: 0.1, 1: 0.08}), "zero-shot holds for every seed"


def test_seeds_that_only_one_side_was_planned_with_are_not_compared() -> None:
    folder = small()
    folder.done(folder.trial("lipsum_ft", 2), (72, 59, 39))
    (table,) = board(folder).tables
    assert row(table, "lipsum_ft").shift.n == 3
    assert sorted(table.to_baseline[2].shift.values) == [0, 1]


def test_a_failed_seed_empties_the_mean_and_says_why() -> None:
    folder = small()
    folder.failed(folder.trial("ft", 2))
    (table,) = board(folder).tables
    for series in (*row(table, "ft").accuracy.values(), row(table, "ft").shift, row(table, "ft").reference_nll):
        assert series.mean is None
        assert series.sd is None
        assert series.why == "2 of 3 seeds: s2 failed: ValueError: loss is not finite at step 31"
    lipsum = table.to_baseline[table.rows.index(row(table, "lipsum_ft"))].shift
    assert lipsum.mean == pytest.approx(0.08), "the pairs that were planned are complete"


def test_missing_and_dependent_trials_are_told_apart() -> None:
    (table,) = board(incomplete()).tables
    assert row(table, "lipsum_ft").shift.why == (
        "1 of 3 seeds: s1 failed: ValueError: loss is not finite at step 31; s2 not run"
    )
    why = row(table, "wise_ft of lipsum_ft, alpha=0.5").shift.why
    assert why.startswith("1 of 3 seeds: s1 dependency failed: InputFailed: input lipsum_ft-")
    assert why.endswith("failed; s2 not run")
    index = table.rows.index(row(table, "lipsum_ft"))
    assert table.to_baseline[index].shift.mean is None, "no difference from an incomplete grid"


def test_a_baseline_that_lacks_seeds_is_named_in_the_reason() -> None:
    folder = small()
    del folder.records[folder.plan[2].id]
    (table,) = board(folder).tables
    assert table.to_baseline[2].shift.mean is None
    assert table.to_baseline[2].shift.why == "1 of 2 seeds: s1 ft not run"


def test_a_shift_mean_needs_every_shifted_domain() -> None:
    folder = small()
    record = folder.records[folder.plan[1].id]
    seen = tuple(e for e in record.evaluations if e.domain != "sketch")
    folder.records[record.id] = record.model_copy(update={"evaluations": seen})
    ft = row(board(folder).tables[0], "ft")
    assert ft.accuracy["clipart"].mean == pytest.approx(0.52)
    assert ft.shift.mean is None
    assert ft.shift.why == "1 of 2 seeds: s0 not evaluated on sketch"


def test_a_method_without_any_result_keeps_its_row() -> None:
    folder = small()
    folder.trial("wise_ft", 0, kind="post_hoc", of="ft", inputs=(folder.plan[1].id,))
    wise = row(board(folder).tables[0], "wise_ft of ft")
    assert wise.shift.why == "0 of 1 seeds: s0 not run"


def test_zero_shot_that_failed_empties_what_needs_it() -> None:
    folder = small()
    folder.failed(folder.plan[0], message="out of memory")
    (table,) = board(folder).tables
    assert table.rows[0].shift.why == "failed: ValueError: out of memory"
    assert "zero_shot failed: ValueError: out of memory" in table.to_zero_shot[1].shift.why


def test_variants_come_in_order_of_their_parameters() -> None:
    names = [r.name for r in board(demo()).tables[0].rows]
    assert names == [
        "zero_shot",
        "ft",
        "lipsum_ft",
        *(f"wise_ft of {of}, alpha={alpha}" for of in ("ft", "lipsum_ft") for alpha in (0.25, 0.5, 0.75)),
    ]


def test_each_source_has_its_table_and_zero_shot_is_in_all() -> None:
    tables = board(demo(sources=("real", "sketch"))).tables
    assert [t.sources for t in tables] == [("real",), ("sketch",)]
    assert tables[1].shifted == ("real", "painting", "clipart", "infograph")
    assert [t.rows[0].name for t in tables] == ["zero_shot", "zero_shot"]
    assert tables[1].rows[0].reference.mean == pytest.approx(0.60)


def test_joint_sources_are_averaged() -> None:
    folder = Folder(domains=DOMAINS)
    folder.done(folder.trial("ft", sources=("real", "clipart")), (70, 50, 30))
    (table,) = board(folder).tables
    assert table.rows[0].reference.mean == pytest.approx(0.6)
    assert table.shifted == ("sketch",)


def test_zero_shot_alone_has_a_mean_over_domains() -> None:
    folder = Folder(domains=DOMAINS)
    folder.done(folder.trial("zero_shot", kind="reference"), (50, 60, 40))
    (table,) = board(folder).tables
    assert table.sources == ()
    assert table.rows[0].shift.mean == pytest.approx(0.5)
    assert table.rows[0].reference.why == "no reference domain"


def test_the_plan_names_the_baseline() -> None:
    (table,) = board(replace(small(), baseline="lipsum_ft")).tables
    assert table.baseline is row(table, "lipsum_ft")
    (table,) = board(replace(small(), baseline="l2_sp")).tables
    assert table.baseline is None
    assert table.to_baseline[1].shift.why == "no row l2_sp in this table"
    (table,) = board(small(), plans=False).tables
    assert table.to_baseline[1].shift.why == "the plan names no baseline"


def test_a_soup_of_several_seeds_is_compared_with_each() -> None:
    folder = small()
    ids = [trial.id for trial in folder.plan if trial.label == "ft"]
    folder.done(folder.trial("soup", kind="post_hoc", of="ft", inputs=ids), (75, 60, 40))
    (table,) = board(folder).tables
    soup = table.rows.index(row(table, "soup of ft"))
    assert table.to_baseline[soup].reference.values == pytest.approx({0: 0.05, 1: 0.01})
    assert table.to_zero_shot[soup].shift.mean == pytest.approx(0.0)


def test_a_point_of_a_grid_can_be_the_baseline() -> None:
    folder = Folder(domains=DOMAINS, baseline="ft lr=0.2")
    for lr in (0.1, 0.2):
        folder.done(folder.trial(f"ft lr={lr}", 0, method="ft", settings={"lr": lr}), (60, 50, 40))
    (table,) = board(folder).tables
    assert table.baseline is row(table, "ft lr=0.2")


def test_two_trials_of_one_row_and_seed_are_never_averaged() -> None:
    folder = small()
    folder.done(folder.trial("ft", 1, settings={"other": 1}), (60, 50, 40))
    why = row(board(folder).tables[0], "ft").shift.why
    assert why.startswith("1 of 2 seeds: s1 2 trials share this row and seed: ft-demo-real-s1-")


def test_records_of_no_current_plan_are_counted_and_left_out() -> None:
    folder = small()
    removed = folder.plan.pop(2)
    result = board(folder)
    assert result.unplanned == (removed.id,)
    assert row(result.tables[0], "ft").shift.values == pytest.approx({0: 0.40})


def test_an_unreadable_record_is_a_missing_trial_with_its_reason() -> None:
    folder = small()
    id = folder.plan[2].id
    del folder.records[id]
    path = Path(f"/results/trials/{id}/record.json")
    loaded = Loaded(records=dict(folder.records), unreadable={path: f"{path}: not JSON"})
    result = aggregate(folder.plans(), loaded)
    assert result.unreadable == {f"trials/{id}/record.json": "not JSON"}
    assert row(result.tables[0], "ft").shift.why == "1 of 2 seeds: s1 record cannot be read: not JSON"


def test_records_alone_give_the_same_numbers() -> None:
    planned, inferred = board(demo()), board(demo(), plans=False)
    assert inferred.inferred
    assert not planned.inferred
    (ours,), (theirs,) = inferred.tables, planned.tables
    assert [r.name for r in ours.rows] == [r.name for r in theirs.rows]
    assert [r.shift.values for r in ours.rows] == [r.shift.values for r in theirs.rows]
    assert [r.reference_nll.values for r in ours.rows] == [r.reference_nll.values for r in theirs.rows]


def test_records_alone_name_what_varies() -> None:
    folder = Folder(domains=DOMAINS)
    for strength in (0.1, 1.0):
        for seed in (0, 1):
            trial = folder.trial(f"any {strength}", seed, method="l2_sp", settings={"strength": strength, "same": 3})
            folder.done(trial, (60 + strength, 50, 40))
    (table,) = board(folder, plans=False).tables
    assert [r.label for r in table.rows] == ["l2_sp strength=0.1", "l2_sp strength=1.0"]
    assert [r.shift.n for r in table.rows] == [2, 2]


def test_records_alone_with_two_sources() -> None:
    planned, inferred = board(demo(sources=("real", "sketch"))), board(demo(sources=("real", "sketch")), plans=False)
    assert [(t.sources, t.shifted) for t in inferred.tables] == [(t.sources, t.shifted) for t in planned.tables]
    assert [r.name for r in inferred.tables[1].rows] == [r.name for r in planned.tables[1].rows]


def test_records_alone_keep_datasets_apart() -> None:
    folder, other = small(), Folder(domains=DOMAINS, dataset="other")
    other.done(other.trial("ft"), (10, 20, 30))
    folder.records |= other.records
    assert [t.benchmark for t in board(folder, plans=False).tables] == ["demo", "other"]


def test_a_series_without_common_seeds_says_so() -> None:
    apart = difference(Series({0: 1.0}), Series({1: 1.0}), "ft")
    assert apart.mean is None
    assert apart.why == "no seed in common"
    assert combine(sum, Series({0: 1.0, 1: 2.0}), Series({0: 5.0}, constant=True)).values == {0: 6.0, 1: 7.0}
