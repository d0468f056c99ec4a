"""Intervals, p-values and adjustments agree with statsmodels and scipy, which know nothing of our statistics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from orchestrator.analysis.compare import compare, pick, sides
from orchestrator.analysis.predictions import read_predictions
from orchestrator.analysis.statistics import PairedBootstrap, holm
from orchestrator.records import load_plans, load_records
from tests.orchestrator.outcome_factory import write_results


def test_holm_is_that_of_statsmodels_with_ties_too() -> None:
    rng = np.random.default_rng(13)
    for count in (1, 4, 60):  # few: statsmodels collects garbage in each call
        p_values = rng.choice([*10.0 ** -rng.uniform(0, 5, 8), 0.05, 1.0], count).tolist()
        assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


@pytest.mark.parametrize("method", ["percentile", "BCa"])
@pytest.mark.parametrize("rate", [0.5, 0.8])
def test_the_interval_of_one_seed_is_that_of_scipys_bootstraps(method: str, rate: float) -> None:
    """Ends within a tenth of a half-width: 4,000 draws leave 3 % of Monte-Carlo error, skewness the rest."""
    rng = np.random.default_rng(17)
    correct = rng.random((1, 1, 600)) < rate
    ours = PairedBootstrap({"d": correct}, num_draws=4000).accuracy(0, ["d"])
    given = (correct[0, 0].astype(float),)
    low, high = stats.bootstrap(given, np.mean, n_resamples=4000, method=method, rng=3).confidence_interval
    tolerance = (high - low) / 2 / 10
    assert (ours.low, ours.high) == pytest.approx((low, high), abs=tolerance)


@pytest.mark.parametrize("seed_sd", [0.0, 0.06, 0.2])
def test_the_interval_over_seeds_and_images_is_that_of_the_two_way_anova(seed_sd: float) -> None:
    """Mean squares by statsmodels; variance of the mean of crossed random effects, Satterthwaite's degrees of freedom.

    20,000 draws leave 0.5 % of Monte-Carlo error in a standard deviation.
    """
    seeds, images = 4, 60
    rng = np.random.default_rng(23)
    rate = rng.uniform(0.2, 0.8, images) + rng.normal(0, seed_sd, (seeds, 1))
    correct = rng.random((1, seeds, images)) < rate
    ours = PairedBootstrap({"d": correct}, num_draws=20_000).accuracy(0, ["d"])
    table = pd.DataFrame(
        {
            "right": correct[0].ravel().astype(float),
            "seed": np.repeat(np.arange(seeds), images),
            "image": np.tile(np.arange(images), seeds),
        }
    )
    anova = anova_lm(ols("right ~ C(seed) + C(image)", table).fit())
    of_seed, of_image, of_rest = anova["sum_sq"] / anova["df"]
    cells = seeds * images
    # The bootstrap's image part has N in the denominator where the mean square has N - 1.
    variance = max(0.0, of_seed - of_rest) / cells + (images - 1) / images * of_image / cells
    freedom = variance**2 / ((of_image / cells) ** 2 / (images - 1) + (of_seed / cells) ** 2 / (seeds - 1))
    half = stats.t.ppf(0.975, max(1.0, freedom)) * np.sqrt(variance)
    assert ours.value == pytest.approx(table["right"].mean())
    assert (ours.high - ours.low) / 2 == pytest.approx(half, rel=0.04)


@pytest.mark.parametrize("gain", [0.0, 0.02, 0.04, 0.08])
def test_the_p_of_one_seed_is_that_of_mcnemar(gain: float) -> None:
    """Without the continuity correction, which both asymptotic tests lack."""
    rng = np.random.default_rng(29)
    first = rng.random(1500) < 0.6
    change = rng.random(1500)
    second = np.where(change < 0.1, ~first, first) | (change > 1 - gain)
    table = [[np.sum(first & second), np.sum(first & ~second)], [np.sum(~first & second), np.sum(~first & ~second)]]
    expected = mcnemar(table, exact=False, correction=False).pvalue
    ours = PairedBootstrap({"d": np.stack([first, second])[:, None]}, num_draws=4000).difference(0, 1, ["d"]).p
    z, expected_z = (stats.norm.isf(p / 2) for p in (ours, expected))
    assert z == pytest.approx(expected_z, rel=0.06, abs=0.05)


def test_discordant_images_of_compare_are_those_of_a_sign_test(tmp_path: Path) -> None:
    """Counts from the same files by other means; a difference that compare is sure of is one for scipy's binomial test too."""
    results = write_results(tmp_path, {"zero_shot": 0.5, "ft": 0.6, "better": 0.7})
    known = list(sides(load_plans(results), load_records(results)))
    better, ft = pick(known, "better", "ft", None, None, None)
    [found] = compare(results, better, ft, ["sketch"])
    tables = []
    for seed in (0, 1, 2):
        a, b = (
            read_predictions(results.trial(s.seeds[seed]) / "predictions.parquet", "", "sketch") for s in (better, ft)
        )
        tables.append(pd.crosstab(a.correct, b.correct))
    total = sum(tables)
    assert (found.only_first, found.only_second) == (total.loc[True, False], total.loc[False, True])
    test = stats.binomtest(found.only_first, found.only_first + found.only_second)
    assert found.estimate.p < 0.05 and test.pvalue < 0.05
    num_images = 3 * found.estimate.num_images
    assert found.estimate.value == pytest.approx((found.only_first - found.only_second) / num_images)
