"""Records that no longer match the plan: found, named with what differs, and never mixed in."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.analysis.aggregate import aggregate
from orchestrator.planning.plan import statuses
from orchestrator.planning.plan_view import print_plan, print_status
from orchestrator.planning.stale import find_stale, stale_of_plans, tally
from orchestrator.records import Loaded, Results, load_plans, load_records, write_plan
from orchestrator.report.export import csv_text, markdown
from orchestrator.report.page import html_text
from orchestrator.spec import UNPREPARED, BenchmarkPlan, PlannedTrial, trial_id
from tests.orchestrator.record_factory import DOMAINS, Folder, demo

CHANGES = {
    "method_version": {"method_version": 2},
    "settings.strength": {"settings": {"strength": 0.5}},
    "data.identity": {"data": {"identity": "60" * 32}},
    "data.val_fraction": {"data": {"val_fraction": 0.3}},
    "model.weights": {"model": {"weights": "sha256:" + "cd" * 32}},
    "recipe.num_steps": {"recipe": {"num_steps": 151}},
    "preprocessing": {"preprocessing": "openai"},
    "selection": {"selection": "last"},
}


def changed(trial: PlannedTrial, change: dict[str, object]) -> PlannedTrial:
    """The trial with another spec and its id."""
    parts = {
        key: getattr(trial.spec, key).model_copy(update=value)
        if isinstance(value, dict) and key != "settings"
        else value
        for key, value in change.items()
    }
    spec = trial.spec.model_copy(update=parts)
    return trial.model_copy(update={"spec": spec, "id": trial_id(spec)})


def one() -> PlannedTrial:
    return Folder().trial("lipsum_ft", settings={"strength": 0.3})


@pytest.mark.parametrize("field", CHANGES)
def test_each_kind_of_change_is_named(field: str) -> None:
    before, now = one(), changed(one(), CHANGES[field])
    stale = find_stale([now], {before.id: before.spec})[now.id]
    assert (stale.record, stale.fields) == (before.id, (field,))
    assert stale.reason == f"stale: {field} changed (record {before.id})"


def test_several_changes_are_counted_and_the_first_leads() -> None:
    before = one()
    now = changed(before, {**CHANGES["method_version"], **CHANGES["settings.strength"], **CHANGES["data.identity"]})
    now = changed(now, CHANGES["selection"])
    stale = find_stale([now], {before.id: before.spec})[now.id]
    assert (
        stale.reason
        == f"stale: method_version, settings.strength, data.identity and 1 more changed (record {before.id})"
    )
    assert tally([stale, stale]) == "2 method_version"


def test_another_cell_is_not_stale() -> None:
    folder = Folder()
    now = folder.trial("lipsum_ft", seed=0)
    others = [
        folder.trial("ft", seed=0),
        folder.trial("lipsum_ft", seed=1),
        folder.trial("lipsum_ft", sources=("sketch",)),
        changed(now, {"model": {"name": "another_vit"}}),
        changed(now, {"data": {"name": "another_dataset"}}),
    ]
    assert find_stale([now], {t.id: t.spec for t in others}) == {}


def test_a_record_stands_for_one_point_of_a_grid_the_nearest() -> None:
    folder = Folder()
    before = {strength: folder.trial("lipsum_ft", settings={"strength": strength}) for strength in (0.1, 0.3)}
    now = {s: changed(folder.trial("lipsum_ft", settings={"strength": s}), {"method_version": 2}) for s in (0.3, 0.7)}
    records = {t.id: t.spec for t in before.values()}
    found = find_stale(now.values(), records)
    assert found[now[0.3].id].record == before[0.3].id
    assert found[now[0.3].id].fields == ("method_version",)
    assert found[now[0.7].id].fields == ("method_version", "settings.strength")
    third = folder.trial("lipsum_ft", settings={"strength": 0.9})
    assert len(find_stale([*now.values(), third], records)) == 2


def test_what_builds_on_trials_follows_them_through_the_change() -> None:
    folder = Folder()

    def pair(strength: float, version: int) -> tuple[PlannedTrial, PlannedTrial]:
        base = changed(
            folder.trial("lipsum_ft", settings={"strength": strength}, method="lipsum_ft"), {"method_version": version}
        )
        return base, folder.trial("wise_ft", kind="post_hoc", of="lipsum_ft", inputs=[base.id])

    before, now = [pair(s, 1) for s in (0.1, 0.3)], [pair(s, 2) for s in (0.3, 0.1)]
    found = find_stale([t for p in now for t in p], {t.id: t.spec for p in before for t in p})
    assert found[now[0][1].id].record == before[1][1].id
    assert found[now[1][1].id].record == before[0][1].id
    assert found[now[0][1].id].fields == ("inputs",)
    other = folder.trial("wise_ft", kind="post_hoc", of="ft", inputs=["ft-demo-real-s0-0123456789ab"])
    assert find_stale([other], {p[1].id: p[1].spec for p in before}) == {}


def test_trials_whose_data_are_not_here_are_not_called_stale() -> None:
    before = one()
    for change in ({"data": {"identity": UNPREPARED}}, {"model": {"weights": UNPREPARED}}):
        assert find_stale([changed(before, change)], {before.id: before.spec}) == {}


def replanned(root: Path, change: dict[str, object], label: str = "lipsum_ft") -> BenchmarkPlan:
    """The plan of the demo after a change to one method."""
    [plan] = load_plans(Results(root))
    trials = tuple(changed(t, change) if t.label == label else t for t in plan.trials)
    return plan.model_copy(update={"trials": trials})


def test_plan_and_status_say_what_changed(tmp_path: Path) -> None:
    results = Results(demo().write(tmp_path))
    plan = replanned(tmp_path, {"method_version": 2})
    status = statuses([plan], results)
    ids = [t.id for t in plan.trials if t.label == "lipsum_ft"]
    assert {id for id, kind in status.items() if kind == "stale"} == set(ids)
    stale = stale_of_plans([plan], results, ids)
    out = io.StringIO()
    console = Console(file=out, width=160, highlight=False)
    print_plan(console, plan, status, {}, True, stale)
    print_status(console, plan, status, results, stale)
    text = out.getvalue()
    assert "13 trials: 10 done, 0 to run, 3 stale (recorded before something changed)\n" in text
    assert "  stale, by the first thing that changed: 3 method_version; `run --rerun-stale` runs them" in text
    assert "  to run:     0 steps," in text
    assert f"  stale   {ids[0]}  stale: method_version changed (record lipsum_ft-demo-real-s0-" in text
    assert "demo: 13 trials: 10 done, 0 failed, 3 stale, 0 missing" in text
    assert f"  {ids[0]}: stale: method_version changed (record lipsum_ft-demo-real-s0-" in text


def test_a_record_of_another_benchmark_is_not_stale(tmp_path: Path) -> None:
    results = Results(demo().write(tmp_path))
    plan = replanned(tmp_path, {"method_version": 2})
    [stored] = load_plans(results)
    write_plan(results, stored.model_copy(update={"benchmark": "another"}))
    assert set(statuses([plan], results).values()) == {"done", "missing"}


def test_a_failed_record_is_not_stale(tmp_path: Path) -> None:
    folder = Folder()
    folder.failed(folder.trial("ft"))
    plan = folder.plans()[0]
    results = Results(folder.write(tmp_path))
    fresh = plan.model_copy(update={"trials": (changed(plan.trials[0], {"method_version": 2}),)})
    assert list(statuses([fresh], results).values()) == ["missing"]


def test_the_board_shows_stale_cells_empty_with_the_reason(tmp_path: Path) -> None:
    demo().write(tmp_path)
    plan = replanned(tmp_path, {"data": {"identity": "60" * 32}})
    board = aggregate([plan], load_records(Results(tmp_path)))
    stale = [o for o in board.outcomes if o.stale]
    assert {(o.trial.label, o.status) for o in stale} == {("lipsum_ft", "stale")}
    [row] = [row for row in board.tables[0].rows if row.label == "lipsum_ft"]
    assert row.shift.n == 0 and row.shift.mean is None
    assert all(why.startswith("stale: data.identity changed") for why in row.shift.missing.values())
    page = html_text(board)
    assert "<strong>10 of 13</strong><span>0 failed, 0 missing, 3 stale: recorded before code, data or settings" in page
    assert "3 records that stale trials had before something changed, not shown." in page
    assert page.count('<td class="stale">stale</td>') == 3 and '<td class="missing">' not in page
    assert "run benchmarks.yaml demo --rerun-stale</code>" in page
    rows = csv.DictReader(csv_text(board).splitlines())
    assert [row["label"] for row in rows if row["status"] == "stale"] == ["lipsum_ft"] * 3
    assert "- 3 records that stale trials had before something changed, not shown." in markdown(board)
    assert not any(o.stale for o in aggregate(load_plans(Results(tmp_path)), load_records(Results(tmp_path))).outcomes)


def test_a_thousand_stale_records_are_found_quickly() -> None:
    folder = Folder()
    old = [
        folder.trial("ft", seed, settings={"a": a}, sources=(d,))
        for a in range(4)
        for seed in range(50)
        for d in DOMAINS
    ]
    new = [changed(t, {"method_version": 2}) for t in old]
    began = time.process_time()
    found = find_stale(new, {t.id: t.spec for t in old})
    assert time.process_time() - began < 2
    assert [found[t.id].fields for t in new] == [("method_version",)] * 1000
    assert aggregate([folder.plans()[0]], Loaded()).outcomes[0].reason == "not run"
