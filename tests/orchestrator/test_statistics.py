"""Intervals cover what they claim, agree with scipy where it has an answer."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from orchestrator.analysis.statistics import Estimate, PairedBootstrap, holm


def simulated(rng: np.random.Generator, num_seeds: int, num_images: int, seed_sd: float) -> NDArray[np.bool_]:
    """Two rows on the same images and seeds: an image has a difficulty, a seed an effect of its own for each row.

    The true accuracies are 0.65 and 0.6.
    """
    difficulty = rng.uniform(-0.3, 0.3, size=num_images)
    means = np.array([0.65, 0.60])[:, None, None] + rng.normal(0, seed_sd, size=(2, num_seeds, 1)) + difficulty
    return rng.random((2, num_seeds, num_images)) < means


def coverage(num_seeds: int, seed_sd: float, runs: int = 1000) -> np.ndarray:
    """How often the intervals of an accuracy and of a difference hold the truth, in 1,000 sweeps of 200 images.

    1,000 leave a standard error of 0.7 points at 95 %. The generator's seed is the number of seeds, that of each bootstrap
    the sweep's number.
    """
    rng, hits = np.random.default_rng(num_seeds), np.zeros(2)
    for run in range(runs):
        bootstrap = PairedBootstrap({"d": simulated(rng, num_seeds, 200, seed_sd)}, num_draws=200, seed=run)
        single, pair = bootstrap.accuracy(0, ["d"]), bootstrap.difference(0, 1, ["d"])
        hits += [single.low <= 0.65 <= single.high, pair.low <= 0.05 <= pair.high]
    return hits / runs


@pytest.mark.parametrize(("num_seeds", "seed_sd"), [(5, 0.05), (3, 0.05), (3, 0.1), (1, 0.0)])
def test_intervals_cover_the_truth_as_often_as_they_say(num_seeds: int, seed_sd: float) -> None:
    found = coverage(num_seeds, seed_sd)
    assert np.all(np.abs(found - 0.95) <= 0.02), found


def test_the_simulation_finds_out_intervals_that_are_too_narrow() -> None:
    """The same check on an interval that takes outcomes of all seeds for independent, as is often published."""
    rng, hits = np.random.default_rng(3), 0
    for _ in range(1000):
        outcomes = simulated(rng, 3, 200, 0.05)[0]
        half = 1.96 * outcomes.std(ddof=1) / np.sqrt(outcomes.size)
        hits += abs(outcomes.mean() - 0.65) <= half
    assert hits / 1000 < 0.93 - 0.1


def test_intervals_end_where_accuracies_and_differences_do() -> None:
    """An accuracy near 100 % with few images, one near 0, and the difference of the two."""
    correct = np.ones((2, 1, 30), dtype=np.bool_)
    correct[0, 0, 0] = False
    correct[1, 0, 1:] = False
    bootstrap = PairedBootstrap({"d": correct})
    high, low, versus = bootstrap.accuracy(0, ["d"]), bootstrap.accuracy(1, ["d"]), bootstrap.difference(0, 1, ["d"])
    assert 0 < high.low < high.value < high.high == 1
    assert 0 == low.low < low.value < low.high < 1
    assert 0 < versus.low < versus.value < versus.high == 1


def test_where_seeds_make_no_difference_intervals_are_rather_too_wide() -> None:
    """Three seeds cannot show that there is nothing between them."""
    assert np.all(coverage(3, 0.0) >= 0.95)


def test_one_seed_agrees_with_scipys_paired_bootstrap() -> None:
    rng = np.random.default_rng(0)
    correct = simulated(rng, 1, 500, 0.0)
    ours = PairedBootstrap({"d": correct}, num_draws=4000).difference(0, 1, ["d"])
    one, two = correct[:, 0].astype(float)
    scipys = stats.bootstrap(
        (one, two), lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis), paired=True, n_resamples=4000, rng=1
    )
    assert ours.value == pytest.approx(one.mean() - two.mean())
    assert (ours.high - ours.low) / 2 / stats.t.ppf(0.975, 499) == pytest.approx(scipys.standard_error, rel=0.05)
    assert ours.p == pytest.approx(stats.ttest_rel(one, two).pvalue, rel=0.5)


def test_many_images_leave_the_t_interval_over_seeds() -> None:
    """Where every image is alike only the seeds vary: the interval is Student's over the seeds' accuracies."""
    rng = np.random.default_rng(3)
    accuracies = np.array([0.4, 0.5, 0.65])
    correct = (np.arange(1000) < 1000 * accuracies[:, None])[None]
    correct = rng.permuted(np.broadcast_to(correct, (1, 3, 1000)), axis=2)
    ours = PairedBootstrap({"d": correct}, num_draws=20_000).accuracy(0, ["d"])
    low, high = stats.t.interval(0.95, 2, loc=accuracies.mean(), scale=stats.sem(accuracies))
    assert ours.value == pytest.approx((low + high) / 2)
    assert ours.high - ours.low == pytest.approx(high - low, rel=0.05)


def test_equal_rows_do_not_differ_and_pairing_narrows() -> None:
    rng = np.random.default_rng(5)
    first = simulated(rng, 3, 400, 0.03)[:1]
    nearly = first ^ (rng.random(first.shape) < 0.01)
    bootstrap = PairedBootstrap({"d": np.concatenate([first, first, nearly])})
    assert bootstrap.difference(0, 1, ["d"]) == Estimate(0.0, 0.0, 0.0, 1.0, 3, 400)
    paired, alone = bootstrap.difference(0, 2, ["d"]), bootstrap.accuracy(0, ["d"])
    assert paired.high - paired.low < 0.3 * (alone.high - alone.low)


def test_domains_weigh_alike_and_all_rows_share_the_draws() -> None:
    rng = np.random.default_rng(7)
    outcomes = {"big": simulated(rng, 2, 900, 0.0), "small": simulated(rng, 2, 100, 0.0)}
    bootstrap = PairedBootstrap(outcomes)
    both = bootstrap.accuracy(0, ["big", "small"])
    assert both.value == pytest.approx(np.mean([outcomes[d][0].mean() for d in outcomes]))
    assert both.num_images == 1000
    again = PairedBootstrap(outcomes).accuracy(0, ["big", "small"])
    assert again == both


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="same rows and seeds"):
        PairedBootstrap({"a": np.ones((2, 3, 4), bool), "b": np.ones((2, 2, 4), bool)})
    with pytest.raises(ValueError, match="not empty"):
        PairedBootstrap({})


def test_holm_by_the_book() -> None:
    """The example of R's documentation of p.adjust's rule, worked by hand."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.6, 0.9]) == [1.0, 1.0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_never_lowers(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    pairs = [(p_values[i], adjusted[i]) for i in np.argsort(p_values)]
    assert all(first[1] <= second[1] for first, second in itertools.pairwise(pairs))
