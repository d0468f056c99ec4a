"""Folders of results are joined, conflicts are named, and nothing is ever overwritten."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from orchestrator.analysis.aggregate import aggregate
from orchestrator.analysis.merge import MergeConflictError, merge
from orchestrator.bad_input import BadInputError
from orchestrator.cli import app
from orchestrator.records import Results, load_plans, load_records, read_record, write_plan, write_record
from tests.orchestrator.outcome_factory import write_results
from tests.orchestrator.record_factory import Folder, demo


def halves(tmp_path: Path) -> tuple[Folder, Path, Path]:
    """The records of a whole sweep, each in one of two folders; both have the zero-shot model's and the whole plan."""
    whole = demo()
    shared = {id for id in whole.records if id.startswith("zero_shot")}
    ids = [id for id in whole.records if id not in shared]
    roots = []
    for number, name in enumerate("ab"):
        part = replace(whole, records={id: r for id, r in whole.records.items() if id in {*ids[number::2], *shared}})
        roots.append(part.write(tmp_path / name))
    return whole, roots[0], roots[1]


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_halves_make_the_whole_and_are_left_alone(tmp_path: Path) -> None:
    whole, a, b = halves(tmp_path)
    for path in Results(a).root.glob("trials/*"):
        (path / "log.txt").write_text("log")
    before = snapshot(a), snapshot(b)
    merged = merge([a, b], tmp_path / "c")
    assert (merged.trials, len(merged.repeated), merged.completed_elsewhere) == (len(whole.records), 1, ())
    assert (snapshot(a), snapshot(b)) == before
    joined = load_records(Results(tmp_path / "c"))
    assert joined.records == whole.records
    assert len(list(tmp_path.glob("c/trials/*/log.txt"))) == len(load_records(Results(a)).records)
    board = aggregate(load_plans(Results(tmp_path / "c")), joined)
    assert all(outcome.status == "done" for outcome in board.outcomes)
    assert board == aggregate(whole.plans(), load_records(Results(whole.write(tmp_path / "whole"))))


def test_seeds_added_by_another_person_join_the_plan(tmp_path: Path) -> None:
    a = demo(seeds=(0, 1)).write(tmp_path / "a")
    b = demo(seeds=(2,)).write(tmp_path / "b")
    merge([a, b], tmp_path / "c")
    [plan] = load_plans(Results(tmp_path / "c"))
    assert sorted({t.spec.seed for t in plan.trials if t.label == "ft"}) == [0, 1, 2]
    assert len({t.id for t in plan.trials}) == len(plan.trials)


def test_different_outcomes_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    _, a, b = halves(tmp_path)
    [id] = [path.name for path in (b / "trials").iterdir() if path.name.startswith("zero_shot")]
    record = read_record(Results(b).record(id))
    first = record.evaluations[0]
    changed = first.model_copy(update={"num_correct": first.num_correct - 1, "accuracy": first.accuracy - 0.001})
    write_record(Results(b), record.model_copy(update={"evaluations": (changed, *record.evaluations[1:])}))
    with pytest.raises(MergeConflictError) as raised:
        merge([a, b], tmp_path / "c")
    assert str(raised.value) == f"{id}: {a} and {b} differ: 550 and 549 of 1000 images right on real/test"
    assert not (tmp_path / "c").exists()


def test_where_and_when_a_trial_ran_is_no_conflict(tmp_path: Path) -> None:
    _, a, b = halves(tmp_path)
    [id] = [path.name for path in (b / "trials").iterdir() if path.name.startswith("zero_shot")]
    record = read_record(Results(b).record(id))
    write_record(Results(b), record.model_copy(update={"seconds": {"train": 99.0}, "num_attempts": 3}))
    assert merge([a, b], tmp_path / "c").repeated == (id,)
    assert read_record(Results(tmp_path / "c").record(id)).num_attempts == 1


@pytest.mark.parametrize("failed_first", [True, False])
def test_a_completed_record_wins_over_a_failed_one(tmp_path: Path, failed_first: bool) -> None:
    good, bad = demo(), demo()
    trial = next(t for t in bad.plan if t.label == "ft")
    bad.failed(trial)
    roots = [bad.write(tmp_path / "bad"), good.write(tmp_path / "good")]
    merged = merge(roots if failed_first else roots[::-1], tmp_path / "c")
    assert merged.completed_elsewhere == (trial.id,)
    assert read_record(Results(tmp_path / "c").record(trial.id)).status == "completed"


def test_unfinished_trials_stay_where_they_are(tmp_path: Path) -> None:
    _, a, b = halves(tmp_path)
    (a / "trials" / "ft-half-way").mkdir()
    assert merge([a, b], tmp_path / "c").unfinished == (str(a / "trials" / "ft-half-way"),)
    assert not (tmp_path / "c" / "trials" / "ft-half-way").exists()


def test_benchmarks_that_differ_are_a_conflict(tmp_path: Path) -> None:
    a = demo().write(tmp_path / "a")
    b = demo(folder=Folder(dataset="other")).write(tmp_path / "b")
    with pytest.raises(MergeConflictError, match=r"benchmark 'demo' of .*a and .*b differ in dataset: demo and other"):
        merge([a, b], tmp_path / "c")


def test_bad_folders_are_refused(tmp_path: Path) -> None:
    _, a, b = halves(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    for sources, to, message in (
        ([a, tmp_path / "nothing"], "c", "nothing holds no results"),
        ([a, a], "c", "two or more different folders"),
        ([a], "c", "two or more different folders"),
        ([a, b], "full", "not an empty folder"),
    ):
        with pytest.raises(BadInputError, match=message):
            merge(sources, tmp_path / to)
    next((b / "trials").glob("*/record.json")).write_text("{}")
    with pytest.raises(BadInputError, match=r"record\.json: .*mend or remove it first"):
        merge([a, b], tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_the_command_makes_the_leaderboard_and_tells_conflicts_by_exit_code_1(tmp_path: Path) -> None:
    whole, a, b = halves(tmp_path)
    done = CliRunner().invoke(app, ["merge", str(a), str(b), "-o", str(tmp_path / "c")])
    assert done.exit_code == 0, done.output
    assert f"{len(whole.records)} trials of 2 folders" in done.output
    assert (tmp_path / "c" / "leaderboard.html").is_file()
    [id] = [path.name for path in (b / "trials").iterdir() if path.name.startswith("zero_shot")]
    record = read_record(Results(b).record(id))
    write_record(Results(b), record.model_copy(update={"evaluations": record.evaluations[1:]}))
    conflict = CliRunner().invoke(app, ["merge", str(a), str(b), "-o", str(tmp_path / "d")])
    assert conflict.exit_code == 1
    assert "only one of them was evaluated on real/test" in conflict.stderr
    assert "nothing was written" in conflict.stderr
    assert not (tmp_path / "d").exists()
    full = CliRunner().invoke(app, ["merge", str(a), str(b), "-o", str(tmp_path / "c")])
    assert (full.exit_code, "never overwritten" in full.stderr) == (2, True)


def test_of_two_failures_the_newest_is_taken_and_named(tmp_path: Path) -> None:
    roots = []
    for name, minute, message in (("a", 9, "out of memory"), ("b", 5, "loss is not finite")):
        folder = Folder()
        trial = folder.trial("ft")
        record = folder.failed(trial, message=message)
        folder.records[trial.id] = record.model_copy(update={"finished_at": f"2026-01-02T03:0{minute}:00+00:00"})
        roots.append(folder.write(tmp_path / name))
    for order, to in ((roots, "c"), (roots[::-1], "d")):
        done = CliRunner().invoke(app, ["merge", *map(str, order), "-o", str(tmp_path / to)])
        assert done.exit_code == 0, done.output
        line = f"1 failed in several folders, the newest record was taken: {trial.id} (of {tmp_path / 'a'}, 2026-01-02T03:09"
        assert line in done.output
        assert "same outcome" not in done.output
        error = read_record(Results(tmp_path / to).record(trial.id)).error
        assert error is not None and error.message == "out of memory"


def test_what_was_merged_can_be_merged_again_without_any_record(tmp_path: Path) -> None:
    """Two machines that have planned and not finished anything."""
    whole, a, b = halves(tmp_path)
    planned = [replace(whole, records={}).write(tmp_path / name) for name in ("p", "q")]
    for root in planned:
        (root / "trials").mkdir()
    assert merge(planned, tmp_path / "none").trials == 0
    merge([a, b, tmp_path / "none"], tmp_path / "all")
    assert load_records(Results(tmp_path / "all")).records == whole.records


@pytest.mark.parametrize("damaged_first", [True, False])
def test_of_equal_records_the_copy_with_its_own_outcomes_is_taken(tmp_path: Path, damaged_first: bool) -> None:
    good = write_results(tmp_path / "good", {"ft": 0.6})
    shutil.copytree(tmp_path / "good", tmp_path / "bad")
    id = next(path.name for path in (tmp_path / "good" / "trials").iterdir() if path.name.startswith("ft-"))
    (tmp_path / "bad" / "trials" / id / "predictions.parquet").write_bytes(b"PAR1")
    roots = [tmp_path / "bad", good.root]
    merge(roots if damaged_first else roots[::-1], tmp_path / "merged")
    taken = (tmp_path / "merged" / "trials" / id / "predictions.parquet").read_bytes()
    assert taken == (good.trial(id) / "predictions.parquet").read_bytes()


def changed_outcomes(root: Path, id: str, **columns: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    """Write a trial's outcomes again with these columns changed."""
    path = root / "trials" / id / "predictions.parquet"
    table = pq.read_table(path)
    for name, change in columns.items():
        place = table.schema.get_field_index(name)
        values = pa.array(change(table.column(name).to_numpy()), table.schema.field(name).type)
        table = table.set_column(place, table.schema.field(name), values)
    pq.write_table(table, path)


def swapped(correct: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """As many right, but others."""
    right, wrong = np.flatnonzero(correct)[0], np.flatnonzero(~correct)[0]
    found = correct.copy()
    found[[right, wrong]] = False, True
    return found


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"correct": swapped}, "other outcomes of 2 of "),
        ({"confidence": lambda of: of / 2}, "other confidences on "),
        ({"key": lambda of: of + "x"}, "other images on "),
        ({}, ""),
    ],
)
def test_outcomes_of_equal_records_are_held_against_each_other(
    tmp_path: Path, columns: dict[str, Callable[[NDArray[Any]], NDArray[Any]]], said: str
) -> None:
    one = write_results(tmp_path / "one", {"ft": 0.6})
    shutil.copytree(one.root, tmp_path / "two")
    id = next(path.name for path in (one.root / "trials").iterdir() if path.name.startswith("ft-"))
    changed_outcomes(tmp_path / "two", id, **columns)
    if not said:  # the same numbers in another file
        assert merge([one.root, tmp_path / "two"], tmp_path / "c").unusable == ()
        return
    with pytest.raises(MergeConflictError, match=said):
        merge([one.root, tmp_path / "two"], tmp_path / "c")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(("field", "value"), [("ece", 0.9), ("energy_gap", 9.0), ("brier", 1.5)])
def test_any_number_of_a_record_that_differs_is_a_conflict(tmp_path: Path, field: str, value: float) -> None:
    a = demo().write(tmp_path / "a")
    shutil.copytree(a, tmp_path / "b")
    for root, given in ((a, 0.1), (tmp_path / "b", value)):
        [path] = (root / "trials").glob("zero_shot*/record.json")
        record = read_record(path)
        first = record.evaluations[0].model_copy(update={field: given})
        write_record(Results(root), record.model_copy(update={"evaluations": (first, *record.evaluations[1:])}))
    with pytest.raises(MergeConflictError, match=f"{field} 0.1 and {value} on real/test"):
        merge([a, tmp_path / "b"], tmp_path / "c")


def test_plans_are_joined_alike_whichever_comes_first(tmp_path: Path) -> None:
    """Of plans that name other baselines that with most trials decides, and it is said."""
    roots = []
    for name, seeds, baseline in (("a", (0,), "ft"), ("b", (1, 2), "lipsum_ft")):
        results = Results(demo(seeds=seeds).write(tmp_path / name))
        [plan] = load_plans(results)
        write_plan(results, plan.model_copy(update={"baseline": baseline}))
        roots.append(results.root)
    joined = []
    for order, to in ((roots, "c"), (roots[::-1], "d")):
        done = CliRunner().invoke(app, ["merge", *map(str, order), "-o", str(tmp_path / to)])
        assert done.exit_code == 0, done.output
        assert (
            f"1 with several baselines, that of the plan with most trials was taken: demo: lipsum_ft (of {roots[1]})"
            in (done.output)
        )
        joined.append(load_plans(Results(tmp_path / to)))
    assert joined[0] == joined[1]
    assert joined[0][0].baseline == "lipsum_ft"
    assert {trial.spec.seed for trial in joined[0][0].trials if trial.label == "ft"} == {0, 1, 2}


def test_a_merge_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, a, b = halves(tmp_path)
    (tmp_path / "there").mkdir()

    def full(results: Results, plan: object) -> None:
        raise OSError(28, "No space left on device", str(results.root))

    with monkeypatch.context() as patched:
        patched.setattr("orchestrator.analysis.merge.write_plan", full)
        for name in ("new", "there"):
            done = CliRunner().invoke(app, ["merge", str(a), str(b), "-o", str(tmp_path / name)])
            assert (done.exit_code, done.stdout) == (2, "")
            assert "No space left on device" in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "new").exists() and list((tmp_path / "there").iterdir()) == []
    (tmp_path / "there" / ".merging" / "trials").mkdir(parents=True)  # as after a kill
    merge([a, b], tmp_path / "there")
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["plans", "trials"]


def test_a_target_inside_a_source_is_refused(tmp_path: Path) -> None:
    _, a, b = halves(tmp_path)
    with pytest.raises(BadInputError, match="which is only read; merge into a folder outside of it"):
        merge([a, b], a / "trials" / "x")
