"""Two rows are compared image by image and seed by seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orchestrator.compare import MEAN, CompareError, Side, compare, pick, sides
from orchestrator.outcomes import write_predictions
from orchestrator.predictions import PredictionsError, read_predictions
from orchestrator.records import Results, load_plans, load_records
from orchestrator.spec import PlannedTrial
from tests.orchestrator.record_factory import DOMAINS, NUM_IMAGES, Folder
from training.evaluate import Outcomes

RATES = {"zero_shot": 0.5, "ft": 0.6, "better": 0.7}


def write_outcomes(
    results: Results, trial: PlannedTrial, rate: float, rng: np.random.Generator, keys: str = "k"
) -> None:
    """Outcomes of ten classes on all domains; class 0 is always wrong for `ft`."""
    outcomes = {}
    for domain in DOMAINS:
        labels = np.arange(NUM_IMAGES) % 10
        right = rng.random(NUM_IMAGES) < rate
        if trial.label == "ft":
            right &= labels != 0
        outcomes["", domain, "test"] = Outcomes(
            keys=tuple(f"{domain}/{keys}{i}" for i in range(NUM_IMAGES)),
            labels=labels,
            predictions=np.where(right, labels, (labels + 1) % 10),
            confidences=np.full(NUM_IMAGES, 0.9, np.float32),
            nlls=np.full(NUM_IMAGES, 0.5, np.float32),
        )
    write_predictions(results.trial(trial.id) / "predictions.parquet", outcomes)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    folder, rng = Folder(), np.random.default_rng(0)
    trials = [folder.trial("zero_shot", kind="reference")]
    trials += [folder.trial(label, seed) for label in ("ft", "better") for seed in (0, 1, 2)]
    ingredients = [t.id for t in trials if t.label == "ft"]
    trials.append(folder.trial("soup", kind="post_hoc", of="ft", inputs=ingredients))
    for trial in trials:
        folder.done(trial, (50.0,) * 5)
    folder.write(tmp_path)
    for trial in trials:
        write_outcomes(Results(tmp_path), trial, RATES.get(trial.label, 0.6), rng)
    return Results(tmp_path)


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
    with pytest.raises(CompareError, match=r"no finished row 'fx'; there are: zero_shot; ft; better; soup of ft"):
        pick(known(results), "fx", "ft", None, None, None)
    ft, better = pick(known(results), "ft", "better", None, None, None)
    with pytest.raises(CompareError, match=r"'ft' was not measured on 'mars'; it was on real, painting"):
        compare(results, ft, better, ["mars"])


def test_other_images_are_never_paired(results: Results) -> None:
    ft, better = pick(known(results), "ft", "better", None, None, None)
    trial = next(t for t in load_plans(results)[0].trials if t.id == better.seeds[1])
    write_outcomes(results, trial, 0.5, np.random.default_rng(1), keys="other")
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
