"""Intervals, ranks, calibration and classes of a board, from hand-made per-image outcomes."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from orchestrator.analysis import board_statistics
from orchestrator.analysis.aggregate import Board, Table, aggregate
from orchestrator.analysis.board_statistics import with_statistics
from orchestrator.analysis.calibration import binned, class_changes, curve
from orchestrator.analysis.intervals import Interval, RowStatistics, TableStatistics
from orchestrator.analysis.predictions import read_predictions
from orchestrator.analysis.products import one_thread
from orchestrator.analysis.row_outcomes import Cell, RowOutcomes, SharedImages
from orchestrator.analysis.statistics import PairedBootstrap, holm, rank
from orchestrator.records import Results, load_plans, load_records
from orchestrator.report import build_report, read_board
from orchestrator.report.export import escape
from orchestrator.report.tables import columns
from tests.orchestrator.outcome_factory import write_outcomes, write_results
from tests.orchestrator.record_factory import DOMAINS, Folder

RATES = {"zero_shot": 0.6, "ft": 0.5, "better": 0.9, "soup": 0.52}
ROWS = ("zero_shot", "ft", "better", "soup of ft")


@pytest.fixture(autouse=True)
def as_reports_do() -> Iterator[None]:
    """What is compared to the last digit is computed by as many threads as reports have."""
    with one_thread():
        yield


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return write_results(tmp_path, RATES)


def board(results: Results) -> Board:
    return with_statistics(results, aggregate(load_plans(results), load_records(results)))


def table(results: Results) -> Table:
    (found,) = board(results).tables
    return found


def statistics(results: Results, name: str) -> RowStatistics:
    found = table(results)
    assert found.statistics is not None
    return found.statistics.rows[[row.name for row in found.rows].index(name)]


def correct(results: Results, domain: str) -> np.ndarray:
    """(rows, seeds, images), read in another way; what holds for every seed is repeated."""
    trials = {row.name: [o.trial.id for o in row.outcomes] for row in table(results).rows}
    return np.array(
        [
            [
                read_predictions(results.trial(id) / "predictions.parquet", "", domain).correct
                for id in (trials[name] * 3)[:3]
            ]
            for name in ROWS
        ]
    )


def test_intervals_are_those_of_the_bootstrap_over_the_same_images(results: Results) -> None:
    found = table(results)
    assert found.statistics is not None
    assert [row.name for row in found.rows] == list(ROWS)
    assert (found.statistics.num_ranked, found.statistics.seeds) == (4, (0, 1, 2))
    bootstrap = PairedBootstrap({domain: correct(results, domain) for domain in DOMAINS})
    ranks = rank(bootstrap, DOMAINS[1:]).intervals
    for index, row in enumerate(found.statistics.rows):
        shift, versus = bootstrap.accuracy(index, DOMAINS[1:]), bootstrap.difference(index, 1, DOMAINS[1:])
        assert row.why == ""
        assert row.shift is not None and row.reference is not None
        assert (row.shift.low, row.shift.high) == (shift.low, shift.high)
        assert row.reference == row.domains["real"]
        assert row.rank == ranks[index]
        of_painting = bootstrap.difference(index, 0, ["painting"]) if index else None
        assert row.versus_zero_shot.get("painting") == (
            of_painting and Interval(low=of_painting.low, high=of_painting.high)
        )
        if index != 1:
            assert row.to_baseline.shift is not None
            assert (row.to_baseline.shift.low, row.to_baseline.shift.high) == (versus.low, versus.high)
    assert found.statistics.rows[1].to_baseline.shift is None, "the baseline itself"
    assert found.statistics.rows[2].rank == (1, 1)
    assert [row.tied for row in found.statistics.rows] == [False, False, True, False]


def test_rows_that_cannot_be_paired_say_why_and_the_others_stay(tmp_path: Path) -> None:
    folder, rng = Folder(), np.random.default_rng(0)
    trials = [folder.trial("zero_shot", kind="reference")]
    trials += [folder.trial(label, seed) for label in ("ft", "better", "lost", "moved") for seed in (0, 1)]
    trials += [folder.trial("fewer", 0)]
    for trial in trials:
        folder.done(trial, (50.0,) * 5)
    folder.trial("planned", 0)
    results = Results(folder.write(tmp_path))
    for trial in trials:
        if (trial.label, trial.spec.seed) != ("lost", 1):
            write_outcomes(results, trial, 0.6, rng, keys="other" if trial.label == "moved" else "k")
    for name in ("zero_shot", "ft", "better"):
        assert statistics(results, name).why == ""
        assert statistics(results, name).shift is not None
    assert statistics(results, "lost").why == "a trial of it has no predictions.parquet"
    assert statistics(results, "moved").why == "its images of real are others than those of 'zero_shot'"
    assert statistics(results, "fewer").why == "its seeds are 0, those of most rows 0, 1"
    assert statistics(results, "planned").why == "0 of 1 seeds: s0 not run"
    assert statistics(results, "lost").shift is None
    page, markdown, *_ = build_report(tmp_path)
    line = "lost without interval: a trial of it has no predictions.parquet"
    assert line in markdown.read_text(encoding="utf-8")
    assert "of most rows 0, 1" in page.read_text(encoding="utf-8")


def test_a_damaged_file_is_a_reason_not_a_crash(results: Results) -> None:
    victim = next(o.trial.id for row in table(results).rows if row.name == "better" for o in row.outcomes)
    (results.trial(victim) / "predictions.parquet").write_bytes(b"PAR1 not really")
    assert statistics(results, "better").why.startswith(f"predictions.parquet of {victim} cannot be read")
    assert statistics(results, "ft").shift is not None


def test_nothing_is_read_twice_until_a_file_changes(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    first = board(results)
    cached = list((results.root / "cache" / "statistics").iterdir())
    assert len(cached) == 1
    read: list[str] = []
    original = SharedImages.row

    def watched(self: SharedImages, name: str, cells: Mapping[str, list[Cell]]) -> RowOutcomes:
        read.append(name)
        return original(self, name, cells)

    monkeypatch.setattr(SharedImages, "row", watched)
    assert board(results) == first
    assert read == []
    changed = next(iter((results.root / "trials").glob("better-*"))) / "predictions.parquet"
    os.utime(changed, ns=(1, 1))
    assert board(results) == first
    assert read == list(ROWS)
    [now] = {*(results.root / "cache" / "statistics").iterdir()} - {*cached}
    now.write_text("{", encoding="utf-8")
    assert board(results) == first, "a damaged cache is made again"


def test_matrices_are_multiplied_by_one_thread_and_afterwards_by_as_many_as_before(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[set[int]] = []
    original = PairedBootstrap.__init__

    def threads() -> set[int]:
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    def watched(self: PairedBootstrap, *given: Any) -> None:
        found.append(threads())
        original(self, *given)

    monkeypatch.setattr(PairedBootstrap, "__init__", watched)
    with threadpool_limits(limits=2, user_api="blas"):
        before = threads()
        board(results)
        assert threads() == before
    assert found and all(of == {1} for of in found)


def test_reports_that_take_turns_do_not_compute_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, rng = Folder(), np.random.default_rng(0)
    trials = [folder.trial("zero_shot", kind="reference")]
    trials += [folder.trial(f"ft a={a}", method="ft", settings={"a": a}) for a in (1, 2)]
    for trial in trials:
        folder.done(trial, (50.0,) * 5)
    results = Results(folder.write(tmp_path))
    for trial in trials:
        write_outcomes(results, trial, 0.6, rng)
    computed: list[tuple[int, int]] = []
    original = board_statistics._statistics

    def watched(of: Results, found: Table, inputs: board_statistics._Inputs) -> TableStatistics:
        computed.append((len(found.rows), found.ece_bins))
        return original(of, found, inputs)

    monkeypatch.setattr(board_statistics, "_statistics", watched)
    first = [read_board(results.root), read_board(results.root, "oracle"), read_board(results.root, ece_bins=10)]
    again = [read_board(results.root), read_board(results.root, "oracle"), read_board(results.root, ece_bins=10)]
    assert again == first
    assert computed == [(3, 15), (4, 15), (3, 10)], "each once; the oracle's table has one more row"


def test_what_no_report_needs_is_kept_for_a_time_and_within_bounds(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = results.root / "cache" / "statistics"
    board(results)
    (own,) = folder.iterdir()
    now = time.time()
    for name, age_days in (("yesterday", 1), ("last week", 7), ("week before", 14), ("forgotten", 31)):
        (folder / f"{name}.json").write_bytes(b"x" * 1000)
        os.utime(folder / f"{name}.json", (now - age_days * 86400,) * 2)
    os.utime(own, (1, 1))
    board(results)
    assert own.stat().st_mtime >= now - 1, "used now"
    assert {path.stem for path in folder.iterdir()} - {own.stem} == {"yesterday", "last week", "week before"}
    monkeypatch.setattr(board_statistics, "KEPT_BYTES", 2500)
    board(results)
    assert {path.stem for path in folder.iterdir()} - {own.stem} == {"yesterday", "last week"}, "the oldest go first"


def test_each_domain_held_out_uses_the_trials_that_did_not_see_it(tmp_path: Path) -> None:
    folder, rng = Folder(leave_one_out=True), np.random.default_rng(0)
    trials = [folder.trial("zero_shot", kind="reference")]
    trials += [folder.trial("ft", s, sources=[d for d in DOMAINS if d != out]) for out in DOMAINS for s in (0, 1)]
    for trial in trials:
        folder.done(trial, (50.0,) * 5)
    results = Results(folder.write(tmp_path))
    for trial in trials:
        write_outcomes(results, trial, 0.6, rng)
    found = statistics(results, "ft")
    assert found.why == ""
    held_out = {d: [t.id for t in trials if t.label == "ft" and d not in t.spec.data.sources] for d in DOMAINS}
    paths = {d: [results.trial(id) / "predictions.parquet" for id in ids] for d, ids in held_out.items()}
    means = [np.mean([read_predictions(p, "", d).correct for p in of]) for d, of in paths.items()]
    assert found.shift is not None
    assert (found.shift.low + found.shift.high) / 2 == pytest.approx(np.mean(means))


def test_a_curve_and_classes_by_hand() -> None:
    first = binned(np.array([[0.95, 0.99], [0.85, 0.95]], np.float32), np.array([[True, False], [True, True]]), 10)
    second = binned(np.array([[0.05], [0.5]], np.float32), np.array([[False], [True]]), 10)
    found = curve([first, second], slice(0, 1))
    assert [(b.num_images, b.accuracy) for b in found.bins] == [(1, 0.0), (2, 0.5)]
    assert [b.confidence for b in found.bins] == pytest.approx([0.05, 0.97])
    assert [b.num_images for b in curve([first, second], slice(0, 2)).bins] == [1, 1, 1, 3]
    labels = [np.array([0, 0, 1]), np.array([2])]
    ours = [np.array([[1, 1, 0], [1, 1, 0]], bool), np.array([[1], [0]], bool)]
    others = [np.array([[0, 1, 1], [0, 1, 1]], bool), np.array([[1], [0]], bool)]
    changes = class_changes(labels, ours, others)
    assert [(c.label, c.difference, c.num_images) for c in changes.gains] == [(0, 0.5, 2)]
    assert [(c.label, c.difference, c.num_images) for c in changes.losses] == [(1, -1.0, 1)]


def test_the_class_that_ft_never_gets_right_loses_most(results: Results) -> None:
    (loss, *_) = statistics(results, "ft").classes["shift"].losses
    right = [read_predictions(p, "", d) for d in DOMAINS[1:] for p in [_zero_shot(results)]]
    expected = -np.mean([p.correct[p.labels == 0].mean() for p in right])
    assert (loss.label, loss.num_images) == (0, 400)
    assert loss.difference == pytest.approx(expected)
    assert statistics(results, "zero_shot").classes == {}


def _zero_shot(results: Results) -> Path:
    return next((results.root / "trials").glob("zero_shot-*")) / "predictions.parquet"


def test_tables_show_intervals_and_ranks(results: Results) -> None:
    found = table(results)
    cells = {column.full_title: column.cell(2) for column in columns(found)}
    shift = statistics(results, "better").shift
    assert shift is not None
    assert cells["shift mean"].interval == f"[{100 * shift.low:.1f}, {100 * shift.high:.1f}]"
    assert cells["shift mean"].best and not {c.full_title: c.cell(1) for c in columns(found)}["shift mean"].best
    assert (cells["rank: of 4"].text, cells["painting"].aside) == ("1", True)
    without = replace(found, statistics=None)
    assert [c.full_title for c in columns(without) if c.group == "rank"] == []
    _, markdown, _, rows = build_report(results.root)
    assert f"| {escape(cells['shift mean'].full_text)} |" in markdown.read_text(encoding="utf-8")
    with rows.open(newline="", encoding="utf-8") as file:
        lines = [line for line in csv.DictReader(file) if line["row"] == "better"]
    (line,) = (line for line in lines if line["quantity"] == "shift mean")
    assert (float(line["low"]), float(line["high"])) == (shift.low, shift.high)
    assert float(line["mean"]) == pytest.approx((shift.low + shift.high) / 2, abs=1e-6), "recorded, and of the outcomes"


def test_differences_have_p_values_adjusted_over_the_rows_of_the_table(results: Results) -> None:
    found = table(results)
    assert found.statistics is not None
    bootstrap = PairedBootstrap({domain: correct(results, domain) for domain in DOMAINS})
    for part, domains in (("reference", DOMAINS[:1]), ("shift", DOMAINS[1:])):
        for other, pick in ((0, lambda row: row.to_zero_shot), (1, lambda row: row.to_baseline)):
            rows = [index for index in range(4) if index != other]
            p_values = [bootstrap.difference(index, other, domains).p for index in rows]
            differences = [getattr(pick(found.statistics.rows[index]), part) for index in rows]
            assert [of.p for of in differences] == p_values
            assert [of.adjusted_p for of in differences] == holm(p_values)
            assert getattr(pick(found.statistics.rows[other]), part) is None


def test_the_source_mean_of_folds_has_them_too(tmp_path: Path) -> None:
    folder, rng = Folder(leave_one_out=True), np.random.default_rng(0)
    trials = [folder.trial("zero_shot", kind="reference")]
    for name in ("ft", "better"):
        trials += [folder.trial(name, s, sources=[d for d in DOMAINS if d != out]) for out in DOMAINS for s in (0, 1)]
    for trial in trials:
        folder.done(trial, (50.0,) * 5)
    results = Results(folder.write(tmp_path))
    for trial in trials:
        write_outcomes(results, trial, {"better": 0.8}.get(trial.label, 0.6), rng)
    ft, better = statistics(results, "ft").to_zero_shot.reference, statistics(results, "better").to_zero_shot.reference
    assert ft and better and ft.p is not None and better.p is not None
    assert better.p < 0.05 and better.low > 0
    assert (ft.p < 0.05) == (ft.low > 0 or ft.high < 0), "the test and the interval agree"
    assert [ft.adjusted_p, better.adjusted_p] == holm([ft.p, better.p])
