"""What holds of every board and every merge, whatever the records: hypothesis looks for a sweep for which it does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from itertools import permutations
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from orchestrator.analysis.aggregate import Board, Table, aggregate
from orchestrator.analysis.merge import merge
from orchestrator.analysis.rows import Row
from orchestrator.analysis.series import Series
from orchestrator.analysis.statistics import PairedBootstrap, rank
from orchestrator.records import Loaded, Results, load_plans, load_records
from tests.orchestrator.record_factory import Folder

DOMAINS = ("real", "clipart", "sketch")
METHODS = ("ft", "lipsum_ft", "car_ft")

Percent = st.integers(0, 1000).map(lambda thousandths: thousandths / 10)
"""of 1,000 images, so that every one can be"""


@st.composite
def sweeps(draw: st.DrawFn, holes: bool = True) -> Folder:
    """Zero-shot and up to three methods of up to four seeds; trials that failed or were not run, if `holes`."""
    folder = Folder(domains=DOMAINS)
    accuracies = st.tuples(Percent, Percent, Percent)
    folder.done(folder.trial("zero_shot", kind="reference"), draw(accuracies))
    for method in METHODS[: draw(st.integers(1, 3))]:
        for seed in range(draw(st.integers(1, 4))):
            trial = folder.trial(method, seed)
            state = draw(st.sampled_from(("done", "done", "done", "failed", "missing"))) if holes else "done"
            if state == "done":
                folder.done(trial, draw(accuracies))
            elif state == "failed":
                folder.failed(trial)
    return folder


def board(folder: Folder) -> Board:
    return aggregate(folder.plans(), Loaded(folder.records))


def numbers(value: Any) -> Any:
    """Every series of a row, comparison or table with its values, mean and deviation, by place."""
    if isinstance(value, Series):
        return value.mean, value.sd, value.n, dict(value.values), tuple(value.missing.values())
    if isinstance(value, Row):
        return {f.name: numbers(getattr(value, f.name)) for f in fields(value) if f.name != "outcomes"}
    if isinstance(value, dict):
        return {key: numbers(part) for key, part in value.items()}
    return value


def of_rows(table: Table) -> dict[str, Any]:
    """Name -> the numbers of a row and of its differences."""
    triples = zip(table.rows, table.to_zero_shot, table.to_baseline, strict=True)
    return {
        row.name: [numbers(row), *(numbers(part) for c in (zero, base) for part in (c.reference, c.shift))]
        for row, zero, base in triples
    }


@settings(max_examples=30, deadline=None)
@given(sweeps(), st.randoms(use_true_random=False))
def test_the_order_in_which_records_come_changes_nothing(folder: Folder, random: Random) -> None:
    items = list(folder.records.items())
    random.shuffle(items)
    shuffled = aggregate(folder.plans(), Loaded(dict(items)))
    assert shuffled == board(folder)


@settings(max_examples=30, deadline=None)
@given(sweeps(), st.integers(0, 3))
def test_a_row_with_a_hole_has_no_mean_and_leaves_the_others_as_they_are(folder: Folder, seeds_done: int) -> None:
    [before] = board(folder).tables
    for seed in range(4):
        trial = folder.trial("new", seed)
        if seed < seeds_done:
            folder.done(trial, (50.0, 40.0, 30.0))
    [after] = board(folder).tables
    found = of_rows(after)
    [new] = [row for row in after.rows if row.name == "new"]
    assert new.shift.mean is None and new.shift.sd is None and new.shift.why
    del found["new"]
    assert found == of_rows(before)


@settings(max_examples=40, deadline=None)
@given(sweeps(holes=False))
def test_means_and_deviations_are_numpys_and_differences_are_paired(folder: Folder) -> None:
    """ddof 1 over the seeds; the mean of paired differences is the difference of the means where seeds are the same."""
    [table] = board(folder).tables
    accuracy = {
        label: np.array(
            [
                [e.num_correct / e.num_images for e in folder.records[t.id].evaluations]
                for t in folder.plan
                if t.label == label
            ]
        )
        for label in dict.fromkeys(t.label for t in folder.plan)
    }
    for row, zero in zip(table.rows, table.to_zero_shot, strict=True):
        own = accuracy[row.name]
        shift = own[:, 1:].mean(axis=1)
        assert np.isclose(row.shift.mean, shift.mean()) and np.isclose(row.worst.mean, own[:, 1:].min(axis=1).mean())
        assert (row.shift.sd is None) == (len(own) == 1)
        if row.shift.sd is not None:
            assert np.isclose(row.shift.sd, stats.tstd(shift))
        if row.kind != "reference":
            assert np.isclose(zero.shift.mean, shift.mean() - accuracy["zero_shot"][:, 1:].mean())


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 6), st.integers(1, 3), st.integers(2, 60), st.integers(0, 2**32 - 1))
def test_a_rank_interval_holds_scipys_rank_of_the_mean(rows: int, seeds: int, images: int, seed: int) -> None:
    """And is wider where less is known: no row is out of the range of ranks."""
    rng = np.random.default_rng(seed)
    outcomes = {d: rng.random((rows, seeds, images)) < rng.random((rows, 1, 1)) for d in ("a", "b")}
    ranking = rank(PairedBootstrap(outcomes, num_draws=50), ["a", "b"])
    means = np.mean([outcomes[d].mean(axis=(1, 2)) for d in outcomes], axis=0).round(12)
    best, worst = stats.rankdata(-means, method="min"), stats.rankdata(-means, method="max")
    for low, high, first, last in zip(*zip(*ranking.intervals, strict=True), best, worst, strict=True):
        assert 1 <= low <= first <= last <= high <= rows


def contents(root: Path) -> tuple[Any, Any]:
    """The records by id, and the planned ids of each benchmark."""
    results = Results(root)
    plans = {plan.benchmark: {t.id for t in plan.trials} for plan in load_plans(results)}
    return load_records(results).records, plans


def split(folder: Folder, parts: Sequence[Sequence[int]], root: Path) -> list[Path]:
    """Folders with the trials of these places each."""
    roots = []
    for number, part in enumerate(parts):
        own = Folder(domains=folder.domains, plan=[folder.plan[i] for i in part])
        own.records = {t.id: folder.records[t.id] for t in own.plan if t.id in folder.records}
        (root / str(number) / "trials").mkdir(parents=True)
        roots.append(own.write(root / str(number)))
    return roots


@settings(max_examples=10, deadline=None)
@given(sweeps(), st.data())
def test_merging_is_commutative_associative_and_idempotent(folder: Folder, data: st.DataObject) -> None:
    """Whatever trials each of three machines ran, and in whatever order they are joined."""
    places = st.lists(st.sampled_from(range(len(folder.plan))), unique=True, min_size=1)
    parts = [data.draw(places) for _ in range(3)]
    with TemporaryDirectory() as temporary:
        root = Path(temporary)
        a, b, c = split(folder, parts, root)
        merge([a, b, c], root / "all")
        merge([c, a, b], root / "turned")
        merge([a, b], root / "ab")
        merge([root / "ab", c], root / "nested")
        merge([root / "all", a], root / "again")
        expected = contents(root / "all")
        assert set(expected[0]) == {folder.plan[i].id for part in parts for i in part} & set(folder.records)
        for other in ("turned", "nested", "again"):
            assert contents(root / other) == expected


Failures = st.lists(
    st.tuples(st.sampled_from(("lost", "stuck", "done")), st.integers(0, 2), st.sampled_from(("", "log.txt"))),
    min_size=3,
    max_size=3,
)
"""Of each of three folders: how its one trial ended, in which minute, and a file beside the record."""


@given(Failures)
@settings(max_examples=12, deadline=None)
def test_which_record_a_merge_takes_does_not_depend_on_the_order_of_folders(
    failures: list[tuple[str, int, str]],
) -> None:
    with TemporaryDirectory() as temporary:
        roots = [_one_trial(Path(temporary) / name, *end) for name, end in zip("abc", failures, strict=True)]
        taken = []
        for number, order in enumerate(permutations(roots)):
            merge(order, Path(temporary) / str(number))
            (record,) = load_records(Results(Path(temporary) / str(number))).records.values()
            taken.append((record, sorted(path.name for path in (Path(temporary) / str(number)).rglob("*.txt"))))
        assert all(found[0] == taken[0][0] for found in taken)
        assert (taken[0][0].status == "completed") == any(end == "done" for end, *_ in failures)
        if taken[0][0].status == "failed":
            assert taken[0][0].finished_at[14:16] == f"{max(minute for _, minute, _ in failures):02d}"
        elif any(end == "done" and file for end, _, file in failures):
            assert all(files == ["log.txt"] for _, files in taken), "the fullest copy"


def _one_trial(root: Path, end: str, minute: int, file: str) -> Path:
    folder = Folder(domains=DOMAINS)
    trial = folder.trial("ft")
    record = folder.done(trial, (50, 50, 50)) if end == "done" else folder.failed(trial, message=end)
    folder.records[trial.id] = record.model_copy(update={"finished_at": f"2026-01-02T03:{minute:02d}:00+00:00"})
    folder.write(root)
    if file:
        (Results(root).trial(trial.id) / file).write_text("log")
    return root
