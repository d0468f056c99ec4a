"""Every outcome-based cell of the tables has an interval that lies around the cell's value."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from orchestrator.analysis.aggregate import Table
from orchestrator.analysis.linear import moments, spans
from orchestrator.analysis.predictions import read_predictions
from orchestrator.records import Results
from orchestrator.report import build_report, read_board
from orchestrator.report.inspector import details
from orchestrator.report.tables import Column, columns
from orchestrator.spec import PlannedTrial, TransferRef, trial_id
from orchestrator.trials.outcomes import write_predictions
from tests.orchestrator.measured_factory import Measured, domainbed

DOMAINS = ("art", "cartoon", "photo")
SIZES = {(domain, split): 60 + 20 * place for place, (domain, split) in enumerate(product(DOMAINS, ("test", "val")))}
COSTS = ("training", "rank")


class Elsewhere(Measured):
    """Trials that were also evaluated on a dataset of two domains and on one of one."""

    PLACES = (("shapes:a", "test"), ("shapes:b", "test"), ("birds", "test"))

    def trial(self, label: str, seed: int = 0, **options: object) -> PlannedTrial:
        made = super().trial(label, seed, **options)  # type: ignore[arg-type]
        refs = tuple(
            TransferRef(name=name, identity="0d" * 32, domains=domains)
            for name, domains in (("shapes", ("a", "b")), ("birds", ("all",)))
        )
        spec = made.spec.model_copy(update={"data": made.spec.data.model_copy(update={"transfer": refs})})
        self.plan[-1] = made.model_copy(update={"spec": spec, "id": trial_id(spec)})
        return self.plan[-1]


def shifted() -> Measured:
    """Reference art; a soup of all seeds; two datasets beside."""
    sizes = SIZES | dict.fromkeys(Elsewhere.PLACES, 80)
    folder = Elsewhere(num_images=sizes, domains=DOMAINS)
    places = [*((domain, "test") for domain in DOMAINS), *Elsewhere.PLACES]
    folder.evaluate(folder.trial("zero_shot", kind="reference"), places, 0.55)
    trained = [folder.trial(label, seed, sources=("art",)) for label in ("ft", "kd") for seed in (0, 1, 2)]
    for trial in trained:
        folder.evaluate(trial, places, 0.6 if trial.label == "ft" else 0.7)
    ingredients = [t.id for t in trained if t.label == "ft"]
    soup = folder.trial("soup", sources=("art",), kind="post_hoc", of="ft", inputs=ingredients)
    folder.evaluate(soup, places, 0.65)
    return folder


def seen_unseen() -> Measured:
    sizes = {("seen", "test"): 80, ("unseen", "test"): 60}
    folder = Measured(num_images=sizes, domains=("seen", "unseen"), seen_unseen=("seen", "unseen"))
    folder.evaluate(folder.trial("zero_shot", kind="reference"), sizes, 0.5)
    for seed in (0, 1, 2):
        folder.evaluate(folder.trial("ft", seed, sources=("seen",)), sizes, 0.6)
    return folder


def leave_one_out() -> Measured:
    """Each domain held out; sources are measured on held-out images, which are the same for every seed."""
    sizes = SIZES | dict.fromkeys(Elsewhere.PLACES, 80)
    folder = Elsewhere(num_images=sizes, domains=DOMAINS, leave_one_out=True, target_split="in")
    folder.evaluate(folder.trial("zero_shot", kind="reference"), sizes, 0.5)
    for out, seed, label in product(DOMAINS, (0, 1, 2), ("ft", "kd")):
        sources = tuple(domain for domain in DOMAINS if domain != out)
        trial = folder.trial(label, seed, sources=sources)
        folder.evaluate(trial, [(out, "test"), *((domain, "val") for domain in sources), *Elsewhere.PLACES], 0.6)
    return folder


def pooled() -> Measured:
    """Each seed has images of its own."""
    return domainbed({domain: 100 + 30 * place for place, domain in enumerate(DOMAINS)})


def alone() -> Measured:
    """Nothing but the zero-shot model."""
    folder = Measured(num_images=SIZES, domains=DOMAINS)
    folder.evaluate(folder.trial("zero_shot", kind="reference"), [(domain, "test") for domain in DOMAINS], 0.6)
    return folder


FOLDERS = {
    "shifted": shifted,
    "seen and unseen": seen_unseen,
    "leave one out": leave_one_out,
    "domainbed": pooled,
    "alone": alone,
}


def with_outcomes(table: Table) -> Iterator[tuple[Column, int]]:
    for column, index in product(columns(table), range(len(table.rows))):
        if not column.group.startswith(COSTS) and column.cell(index).order is not None:
            yield column, index


@pytest.mark.parametrize("ece_bins", [15, 4])
@pytest.mark.parametrize("name", FOLDERS)
def test_every_cell_has_an_interval_around_its_value(name: str, ece_bins: int, tmp_path: Path) -> None:
    (table,) = read_board(FOLDERS[name]().write(tmp_path), ece_bins=ece_bins).tables
    cells = list(with_outcomes(table))
    groups = {column.group for column, _ in cells}
    assert {"accuracy, %", "NLL, nats", f"ECE, {ece_bins} bins, %"} <= groups
    for column, index in cells:
        cell = column.cell(index)
        where = (column.full_title, table.rows[index].name)
        assert cell.interval, where
        low, high = (float(end.replace("\N{MINUS SIGN}", "-")) for end in cell.interval.strip("[]").split(", "))
        value = (cell.order or 0.0) * (1 if column.group == "NLL, nats" else 100)
        assert low <= high, where
        # That is not symmetric; others are clipped where the number ends.
        if column.group != "effective robustness" and low > 0 and (high < 100 or column.group == "NLL, nats"):
            assert (low + high) / 2 == pytest.approx(value, abs=0.11), where


@pytest.mark.parametrize("name", FOLDERS)
def test_the_csv_of_rows_has_them_with_full_precision(name: str, tmp_path: Path) -> None:
    *_, rows = build_report(FOLDERS[name]().write(tmp_path))
    with rows.open(encoding="utf-8", newline="") as file:
        lines = [line for line in csv.DictReader(file) if not line["quantity"].startswith(COSTS)]
    checked = set()
    for line in lines:
        if line["mean"] and line["quantity"] != "effective robustness":
            low, high, mean = (float(line[key]) for key in ("low", "high", "mean"))
            assert low <= mean <= high, line
            if low > 0 and "minus" not in line["quantity"] and (high < 1 or line["quantity"].startswith("NLL")):
                assert (low + high) / 2 == pytest.approx(mean, abs=2e-6), line
            checked.add(line["quantity"])
    assert {"NLL, reference", "ECE in 15 bins, reference"} <= checked or name == "alone"
    shifted_mean = "held-out mean" if name in ("leave one out", "domainbed") else "shift mean"
    assert {f"NLL, {shifted_mean}", f"ECE in 15 bins, {shifted_mean}"} <= checked
    assert ("worst domain" in checked) == (name != "seen and unseen")
    if name == "seen and unseen":
        assert {f"{title} by {way}" for title in "SUH" for way in ("class", "image")} <= checked
    assert ("transfer mean" in checked) == (name in ("shifted", "leave one out"))


def test_details_of_a_row_have_the_intervals_that_the_table_shows_aside(tmp_path: Path) -> None:
    board = read_board(seen_unseen().write(tmp_path))
    (table,), (plan,) = board.tables, board.plans
    ft = details(table, plan, lambda _: ())[1]
    text = dict(ft.facts)["95 % intervals"]
    shown = {column.full_title: column.cell(1) for column in columns(table)}
    for title in ("NLL, nats: reference", "ECE, 15 bins, %: shift mean", "generalised zero-shot by class, %: U"):
        assert f"{title} {shown[title].text} {shown[title].interval}" in text
    best = shown["generalised zero-shot by class, %: H"]
    assert best.full_text == f"{best.text} {best.interval}" and best.interval not in text


def outcomes(results: Results, trial: str, domain: str, split: str = "test") -> np.ndarray:
    return read_predictions(results.trial(trial) / "predictions.parquet", "", domain, split).correct.astype(np.float32)


def test_a_source_mean_adds_up_what_the_folds_say_of_an_image(tmp_path: Path) -> None:
    """By hand: an image of art is seen by two of three folds, in each one of two source domains."""
    folder = leave_one_out()
    results = Results(folder.write(tmp_path))
    (table,) = read_board(tmp_path).tables
    assert table.statistics is not None

    def seen(label: str, domain: str) -> np.ndarray:
        found = np.zeros((1, 3, SIZES[domain, "val"]), np.float32)
        for trial in folder.plan:
            if trial.label == label and domain in trial.spec.data.sources:
                found[0, trial.spec.seed] += outcomes(results, trial.id, domain, "val") / 6
        return found

    ft, kd = ({domain: seen(label, domain) for domain in DOMAINS} for label in ("ft", "kd"))
    for own, found in (
        (ft, table.statistics.rows[1].reference),
        ({d: kd[d] - ft[d] for d in DOMAINS}, table.statistics.rows[2].to_baseline.reference),
    ):
        [expected] = spans([(1.0, moments(values)) for values in own.values()]).intervals()
        assert found is not None and expected is not None
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_a_worst_domain_is_the_one_of_each_seed(tmp_path: Path) -> None:
    folder = shifted()
    results = Results(folder.write(tmp_path))
    (table,) = read_board(tmp_path).tables
    assert table.statistics is not None
    changing = 0
    for row, found in zip(table.rows, table.statistics.rows, strict=True):
        trials = [o.trial.id for o in row.outcomes]
        right = {domain: np.stack([outcomes(results, id, domain) for id in trials]) for domain in table.shifted}
        lowest = np.stack([of.mean(axis=1) for of in right.values()]).argmin(axis=0)
        if len({*lowest}) == 1:
            assert found.worst == found.domains[table.shifted[lowest[0]]]
            continue
        changing += 1
        parts = [(1.0, moments((of * (lowest == k)[:, None])[None])) for k, of in enumerate(right.values())]
        [expected] = spans(parts).intervals()
        assert found.worst is not None and expected is not None
        assert (found.worst.low, found.worst.high) == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert changing


def test_what_a_row_lacks_is_empty_and_says_why(tmp_path: Path) -> None:
    folder = shifted()
    results = Results(folder.write(tmp_path))
    lost = next(t.id for t in folder.plan if t.label == "kd")
    (results.trial(lost) / "predictions.parquet").unlink()
    html, *_, rows = build_report(tmp_path)
    with rows.open(encoding="utf-8", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["row"] == "kd" and line["mean"]]
    whys = {line["why"] for line in lines if not line["low"] and not line["quantity"].startswith(COSTS)}
    assert whys == {"a trial of it has no predictions.parquet"}
    assert "a trial of it has no predictions.parquet" in html.read_text(encoding="utf-8")


def test_an_nll_that_is_not_finite_has_no_interval_and_accuracies_have_theirs(tmp_path: Path) -> None:
    folder = shifted()
    results = Results(folder.write(tmp_path))
    victim = next(t.id for t in folder.plan if t.label == "kd")
    found = folder.outcomes[victim]
    for outcome in found.values():
        outcome.nlls[3] = np.inf
    write_predictions(results.trial(victim) / "predictions.parquet", found)
    (table,) = read_board(tmp_path).tables
    assert table.statistics is not None
    row = table.statistics.rows[[r.name for r in table.rows].index("kd")]
    assert (row.nll.reference, row.nll.shift) == (None, None)
    assert row.shift is not None and row.ece.shift is not None


def test_images_of_sources_that_differ_between_folds_leave_the_source_mean_without(tmp_path: Path) -> None:
    folder = leave_one_out()
    results = Results(folder.write(tmp_path))
    victim = next(t for t in folder.plan if t.label == "kd")
    moved = folder.outcomes[victim.id]
    place = ("", victim.spec.data.sources[0], "val")
    moved[place] = replace(moved[place], keys=tuple(f"other{key}" for key in moved[place].keys))
    write_predictions(results.trial(victim.id) / "predictions.parquet", moved)
    (table,) = read_board(tmp_path).tables
    assert table.statistics is not None
    row = table.statistics.rows[[r.name for r in table.rows].index("kd")]
    assert (row.why, row.reference, row.to_baseline.reference, row.nll.reference) == ("", None, None, None)
    assert row.shift is not None and row.to_baseline.shift is not None and row.nll.shift is not None
