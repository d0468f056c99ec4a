"""Intervals of a view: those of our own per-image outcomes, each column's from its own trials."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orchestrator.analysis.predictions import read_predictions
from orchestrator.analysis.statistics import PairedBootstrap
from orchestrator.records import Results
from orchestrator.trials.outcomes import write_predictions
from orchestrator.views import views
from orchestrator.views.intervals import Bootstrap, Predictor
from orchestrator.views.join import load
from orchestrator.views.text import csv_text, markdown
from tests.orchestrator import view_factory as make
from tests.orchestrator.outcome_factory import guesses
from tests.orchestrator.test_views import cells, fill, line, ours


def test_intervals_are_those_of_the_outcomes(tmp_path: Path) -> None:
    results = make.folder()
    trials = [make.trial(results, "car_ft", seed, make.CAR_FT) for seed in range(3)]
    folder = Results(tmp_path)
    for planned in trials:
        make.outcomes(folder, planned, 0.6)
        accuracies = [
            100 * read_predictions(folder.trial(planned.id) / "predictions.parquet", "", domain).correct.mean()
            for domain in results.domains
        ]
        make.done(results, planned, accuracies)
    found = line(fill(results, tmp_path), "CAR-FT")
    for column, domains in ((1, ["painting"]), (5, list(results.domains[1:]))):
        outcomes = {
            d: np.stack([read_predictions(folder.trial(t.id) / "predictions.parquet", "", d).correct for t in trials])[
                None
            ]
            for d in results.domains
        }
        estimate = PairedBootstrap(outcomes).accuracy(0, domains)
        cell = found.cells[column]
        assert cell.published and cell.bounds and cell.difference
        low, high = (100 * bound - cell.published.mean for bound in (estimate.low, estimate.high))
        assert low < 100 * estimate.value - cell.published.mean < high
        assert cell.bounds == (pytest.approx(low), pytest.approx(high))
    assert "[" in markdown(fill(results, tmp_path)).split("| CAR-FT |")[1].split("\n")[0]
    (folder.trial(trials[1].id) / "predictions.parquet").unlink()
    without = line(load(folder).fill(views()["lipsum-table-3"]), "CAR-FT")
    assert ours(without) == ours(found) and {cell.bounds for cell in without.cells} == {None}


def test_each_column_has_the_interval_of_its_own_trials(tmp_path: Path) -> None:
    """Columns of one row about two datasets, both of which call a domain 'sketch'."""
    results, folder = make.folder(), Results(tmp_path)
    good, bad = (make.trial(results, "car_ft", seed, make.CAR_FT) for seed in (0, 1))
    make.outcomes(folder, good, 0.9)
    make.outcomes(folder, bad, 0.3)
    bootstrap = Bootstrap(folder)
    for planned in (good, bad):
        bootstrap.add([Predictor(planned.id, "")], ("sketch",))
    bootstrap.end_row()
    found = bootstrap.intervals()
    assert set(found) == {(0, 0), (0, 1)}
    assert 85 < found[0, 0][0] < found[0, 0][1] < 95 and 20 < found[0, 1][0] < found[0, 1][1] < 40


def measured(root: Path, domains: tuple[str, ...], view: str, num_images: int = 2000) -> dict[str, np.ndarray]:
    """One trial of FT with outcomes that vary; what they are: domain -> (3, N) NLLs, confidences and what is right."""
    results = make.folder(
        *{"lipsum-table-2": ("lipsum_table_1_domainnet",), "gzsl": ("lipsum_table_11", "cub")}[view], domains=domains
    )
    planned = make.trial(results, "ft", data={"sources": (domains[0],)})
    rng, found, truth = np.random.default_rng(0), {}, {}
    for domain in domains:
        confidences = rng.uniform(0.2, 1.0, num_images).astype(np.float32)
        right = rng.random(num_images) < 0.7 * confidences
        outcomes = guesses([f"{domain}/{i}" for i in range(num_images)], np.arange(num_images) % 10, right)
        outcomes = replace(
            outcomes, confidences=confidences, nlls=-np.log(rng.uniform(0.1, 1.0, num_images)).astype("f4")
        )
        found["", domain, "test"] = outcomes
        truth[domain] = np.stack([outcomes.nlls, confidences, right])
    make.done(results, planned, [50.0] * len(domains))
    evaluations = tuple(
        e.model_copy(
            update={"nll": float(truth[e.domain][0].mean()), "class_accuracy": float(truth[e.domain][2].mean())}
        )
        for e in results.records[planned.id].evaluations
    )
    results.records[planned.id] = results.records[planned.id].model_copy(update={"evaluations": evaluations})
    write_predictions(Results(root).trial(planned.id) / "predictions.parquet", found)
    make.write(results, root)
    return truth


def test_calibration_and_likelihood_have_their_intervals_too(tmp_path: Path) -> None:
    truth = measured(tmp_path, ("real", "painting", "clipart", "infograph", "sketch"), "lipsum-table-2")
    filled = load(Results(tmp_path)).fill(views()["lipsum-table-2"])
    ece, nll = line(filled, "FT", 0).cells[1], line(filled, "FT", 2).cells[1]
    nlls, confidences, right = truth["painting"]
    assert ece.interval and nll.interval and nll.published and nll.bounds
    half = 1.96 * nlls.std() / len(nlls) ** 0.5
    assert nll.interval == (pytest.approx(nlls.mean() - half, rel=1e-3), pytest.approx(nlls.mean() + half, rel=1e-3))
    assert nll.bounds[1] == pytest.approx(nll.interval[1] - nll.published.mean)
    assert ece.ours.mean == pytest.approx(sum(ece.interval) / 2, rel=1e-5)
    # All bins are too sure, so that the error is the mean of confidence minus right.
    half = 1.96 * (confidences - right).std() / len(nlls) ** 0.5
    assert (ece.interval[1] - ece.interval[0]) / 2 == pytest.approx(half, rel=1e-2)
    assert " \\[" in markdown(filled).split("| FT |")[3].split("\n")[0], "NLL, beside the difference"
    path = next((tmp_path / "trials").glob("ft-*/predictions.parquet"))
    path.write_bytes(b"")
    assert line(load(Results(tmp_path)).fill(views()["lipsum-table-2"]), "FT", 2).cells[1].interval is None


def test_seen_unseen_and_their_harmonic_mean_have_theirs(tmp_path: Path) -> None:
    measured(tmp_path, ("seen", "unseen"), "gzsl")
    seen, unseen, harmonic = line(load(Results(tmp_path)).fill(views()["lipsum-table-11"]), "FT").cells
    for cell in (seen, unseen, harmonic):
        assert cell.interval and cell.ours.mean
        assert cell.interval[0] < cell.ours.mean < cell.interval[1], "in percent, around ours"
        assert cell.interval[1] - cell.interval[0] < 6
    assert seen.interval and harmonic.interval
    assert harmonic.interval[1] - harmonic.interval[0] < seen.interval[1] - seen.interval[0], "of twice the images"


def test_a_mean_over_domains_held_out_in_turn_has_the_interval_of_its_folds(tmp_path: Path) -> None:
    """CAR-FT on PACS by DomainBed's protocol: every seed has images of its own, every domain trials of its own."""
    pools, accuracies = {"art": 200, "cartoon": 240, "photo": 160}, []
    results, folder = make.folder("domainbed_pacs", "pacs", tuple(pools)), Results(tmp_path)
    rng = np.random.default_rng(0)
    for seed in range(3):
        for out, count in pools.items():
            where = {"sources": tuple(d for d in pools if d != out), "val_fraction": 0.2, "split_seed": seed}
            settings = {"strength": 1.0, "loss": "kld", "text": "context"}
            planned = make.trial(results, "car_ft", seed, settings, data={**where, "target_split": "in"})
            own = np.sort(np.random.default_rng([seed, count]).permutation(count)[count // 5 :])
            right = rng.random(len(own)) < 0.7
            found = guesses([f"{out}/{i}" for i in own], own % 10, right)
            write_predictions(folder.trial(planned.id) / "predictions.parquet", {("", out, "test"): found})
            make.done(results, planned, [100 * right.mean() if d == out else 50.0 for d in pools])
            accuracies.append(right.mean())
    cell = line(fill(results, tmp_path, "car-ft-domainbed"), "CAR-FT").cells[1]
    assert cell.published and cell.ours.mean and cell.interval and cell.bounds
    assert sum(cell.interval) / 2 == pytest.approx(100 * np.mean(accuracies), abs=1e-4)
    assert cell.ours.mean == pytest.approx(100 * np.mean(accuracies), abs=0.1), "records count thousandths"
    # Images make no difference and seeds none: at least the error of independent guesses, at most twice that of two degrees.
    guessed = 100 * np.sqrt(sum(0.21 / (0.8 * count) / 3 for count in pools.values())) / 3
    half = (cell.interval[1] - cell.interval[0]) / 2
    assert 1.8 * guessed < half < 2 * 4.3 * guessed


def test_outcomes_that_are_not_of_the_record_give_no_interval_and_are_named(tmp_path: Path) -> None:
    results, folder = make.folder(), Results(tmp_path)
    trials = [make.trial(results, "car_ft", seed, make.CAR_FT) for seed in range(2)]
    for planned in trials:
        make.outcomes(folder, planned, 0.6)
        make.done(results, planned, [60.0] * 5)
    assert all(cell.interval for cell in line(fill(results, tmp_path), "CAR-FT").cells)
    make.outcomes(folder, trials[1], 0.3)
    found = line(load(folder).fill(views()["lipsum-table-3"]), "CAR-FT")
    assert {cell.interval for cell in found.cells} == {None}
    why = f"no interval: predictions.parquet is not of this record ({trials[1].id}, real/test: "
    assert any(remark.startswith(why) for remark in found.remarks)


def test_what_is_not_comparable_shows_its_interval_too(tmp_path: Path) -> None:
    results, folder = make.folder(), Results(tmp_path)
    planned = make.trial(results, "car_ft", 0, make.CAR_FT, preprocessing="openai")
    make.outcomes(folder, planned, 0.6)
    make.done(results, planned, [60.0] * 5)
    filled = fill(results, tmp_path)
    cell = line(filled, "CAR-FT").cells[0]
    assert cell.bounds and not cell.comparable
    assert markdown(filled).split("| CAR-FT |")[1].split("\n")[0].count("\\] (not comparable)") == 6
    (row, *_) = [row for row in cells(csv_text(filled)) if row["row"] == "CAR-FT"]
    assert (row["comparable"], float(row["low"]), float(row["high"])) == ("no", *cell.bounds)
