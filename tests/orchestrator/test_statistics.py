"""Intervals cover what they claim, agree with scipy where it has an answer, and ranks follow from them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from orchestrator.analysis import products
from orchestrator.analysis.pairs import Pairs, Ranking, ranking
from orchestrator.analysis.products import Floats
from orchestrator.analysis.statistics import Correct, Estimate, PairedBootstrap, holm, rank


def simulated(rng: np.random.Generator, num_seeds: int, num_images: int, seed_sd: float) -> Correct:
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
    accuracies = np.array([0.2, 0.5, 0.9])
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


def test_ranks_are_intervals() -> None:
    """One clear winner, two that cannot be told apart, one clear loser."""
    rng = np.random.default_rng(11)
    rates = np.array([0.9, 0.6, 0.605, 0.2])[:, None, None]
    ranking = rank(PairedBootstrap({"d": rng.random((4, 3, 500)) < rates}), ["d"])
    assert ranking.intervals == [(1, 1), (2, 3), (2, 3), (4, 4)]
    assert ranking.tied_with_best == [True, False, False, False]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_rank_intervals_hold_the_place_in_the_order_of_values(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=count)
    p_values = rng.random((count, count)) ** 4
    p_values[np.triu_indices(count)] = 1.0
    found = ranking(values, [Pairs(slice(0, count), slice(0, count), p_values)])
    adjusted = holm(p_values[np.tril_indices(count, -1)].tolist())
    assert sum(high - low for low, high in found.intervals) == count * (count - 1) - 2 * sum(p < 0.05 for p in adjusted)
    places = np.empty(count, dtype=int)
    places[np.argsort(-values)] = np.arange(1, count + 1)
    assert all(low <= place <= high for place, (low, high) in zip(places, found.intervals, strict=True))
    assert found.tied_with_best[int(values.argmax())]


@pytest.mark.parametrize("num_seeds", [1, 4])
def test_all_pairs_at_once_are_the_pairs_one_by_one(num_seeds: int) -> None:
    rng = np.random.default_rng(num_seeds)
    rates = np.array([0.5, 0.5, 0.55, 0.7])[:, None, None] + rng.normal(0, 0.03, size=(4, num_seeds, 1))
    outcomes = {d: rng.random((4, num_seeds, n)) < rates for d, n in (("a", 300), ("b", 120))}
    for correct in outcomes.values():
        correct[1] = correct[0]
    bootstrap = PairedBootstrap(outcomes, num_draws=500)
    means = bootstrap.means(["a", "b"])
    ((_, _, p_values),) = means.pairs()
    for other, row in itertools.combinations(range(4), 2):
        found = bootstrap.difference(row, other, ["a", "b"])
        assert means.values[row] - means.values[other] == pytest.approx(found.value)
        assert p_values[row, other] == pytest.approx(found.p, rel=1e-3, abs=1e-12)


@pytest.mark.parametrize("num_seeds", [1, 4])
def test_many_rows_in_blocks_are_as_all_at_once(num_seeds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(num_seeds)
    rates = rng.uniform(0.4, 0.8, size=(23, num_seeds, 1))
    outcomes = {d: rng.random((23, num_seeds, n)) < rates for d, n in (("a", 300), ("b", 120))}
    for correct in outcomes.values():
        correct[20] = correct[1]

    def numbers(block: int) -> tuple[Floats, Ranking, list[float]]:
        monkeypatch.setattr(products, "BLOCK", block)
        bootstrap, p_values = PairedBootstrap(outcomes, num_draws=300), np.full((23, 23), -1.0)
        found = list(bootstrap.means(["a", "b"]).pairs())
        assert len(found) == (10 if block == 7 else 1)
        for rows, others, of_pairs in found:
            p_values[rows, others] = of_pairs
        return p_values, rank(bootstrap, ["a", "b"]), [of.low for of in bootstrap.differences(3, ["a"])]

    whole, by_block = numbers(1024), numbers(7)
    lower = np.tril_indices(23, -1)
    assert by_block[0][lower] == pytest.approx(whole[0][lower], rel=1e-4)
    assert (whole[0][lower] >= 0).all() and whole[0][20, 1] == 1
    assert by_block[1] == whole[1]
    assert by_block[2] == pytest.approx(whole[2], rel=1e-6)
