"""Ranks from t-tests of all pairs of rows are those that comparing them one by one and Holm's adjustment give."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import special, stats

from orchestrator.analysis import products, step_down
from orchestrator.analysis.pairs import Compared, Pairs, ranking
from orchestrator.analysis.products import Floats
from orchestrator.analysis.statistics import PairedBootstrap, holm, rank
from orchestrator.analysis.step_down import StepDown

SEEDS = st.integers(0, 2**32 - 1)


def one_by_one(bootstrap: PairedBootstrap, domains: Sequence[str]) -> list[tuple[int, int]]:
    """Rank intervals by comparing two rows at a time; boards on which rounding could tip a test are of no use."""
    count = bootstrap.num_rows
    pairs = list(itertools.combinations(range(count), 2))
    found = [bootstrap.difference(row, other, domains) for row, other in pairs]
    adjusted = holm([of.p for of in found])
    assume(all(abs(p / 0.05 - 1) > 1e-3 for p in adjusted))
    low, high = [1] * count, [count] * count
    for (row, other), of, p in zip(pairs, found, adjusted, strict=True):
        if p < 0.05:
            winner, loser = (row, other) if of.value > 0 else (other, row)
            low[loser] += 1
            high[winner] -= 1
    return list(zip(low, high, strict=True))


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 10),
    num_seeds=st.integers(1, 4),
    num_images=st.lists(st.integers(2, 150), min_size=1, max_size=3),
    spread=st.sampled_from([0.0, 0.03, 0.2]),
    block=st.sampled_from([3, 1024]),
    tabled=st.sampled_from([5, 1000]),
    seed=SEEDS,
)
def test_ranks_are_those_of_all_pairs_one_by_one(
    count: int, num_seeds: int, num_images: list[int], spread: float, block: int, tabled: int, seed: int
) -> None:
    """Also with rows that are alike, that no seed changes, that are all right; in blocks, and with a short table."""
    rng = np.random.default_rng(seed)
    rates = rng.normal(0.6, spread, size=(count, 1, 1)) + rng.normal(0, 0.03, size=(count, num_seeds, 1))
    outcomes = {f"d{place}": rng.random((count, num_seeds, images)) < rates for place, images in enumerate(num_images)}
    for correct in outcomes.values():
        correct[count // 2] = correct[0]
        correct[count // 3] = correct[count // 3, :1]
        correct[-1] |= count > 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "BLOCK", block)
        patch.setattr(step_down, "TABLED", tabled)
        bootstrap = PairedBootstrap(outcomes, num_draws=60)
        assert rank(bootstrap, list(outcomes)).intervals == one_by_one(bootstrap, list(outcomes))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 400), st.sampled_from([0.5, 3.0, 30.0]), st.sampled_from([1.0, 20.0, 3000.0]), SEEDS)
def test_the_step_down_rejects_what_holms_adjustment_does(
    num_tests: int, away: float, freedom: float, seed: int
) -> None:
    """Whatever the order of tests and the pieces in which they come."""
    rng = np.random.default_rng(seed)
    ratios, freedoms = abs(rng.normal(0, away, num_tests)), np.maximum(1.0, rng.exponential(freedom, num_tests))
    ratios[: num_tests // 10] = np.inf
    adjusted = holm((2 * special.stdtr(freedoms, -ratios)).tolist())
    holms, rejected = StepDown(num_tests, 0.05), np.zeros(num_tests, dtype=bool)
    verdicts = []
    for piece in np.array_split(rng.permutation(num_tests), 5):
        with_hole = np.append(ratios[piece], np.nan), np.append(freedoms[piece], 3.0)
        verdicts.append((piece, holms.take(*with_hole)))
    for piece, verdict in verdicts:
        assert not verdict.rejected[-1]
        rejected[piece] = verdict.rejected[:-1]
        rejected[piece[verdict.open[0][verdict.p_values < holms.limit()]]] = True
    assert rejected.tolist() == [p < 0.05 for p in adjusted]


def test_few_p_values_are_computed() -> None:
    """That is what makes 50 million pairs a matter of seconds."""
    rng, piece, num_open = np.random.default_rng(0), 10_000, 0
    holms = StepDown(100 * piece, 0.05)
    for _ in range(100):
        num_open += len(holms.take(abs(rng.normal(0, 8, piece)), rng.uniform(2, 2000, piece)).p_values)
    assert 0 < num_open < 0.05 * 100 * piece


def test_ranks_are_intervals() -> None:
    """One clear winner, two that cannot be told apart, one clear loser."""
    rng = np.random.default_rng(11)
    rates = np.array([0.9, 0.6, 0.605, 0.2])[:, None, None]
    found = rank(PairedBootstrap({"d": rng.random((4, 3, 500)) < rates}), ["d"])
    assert found.intervals == [(1, 1), (2, 3), (2, 3), (4, 4)]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), SEEDS)
def test_rank_intervals_hold_the_place_in_the_order_of_values(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, freedom = rng.normal(size=count), rng.uniform(1, 50, size=(count, count))
    p_values = rng.random((count, count)) ** 4
    ratio = stats.t.isf(p_values / 2, freedom)
    ratio[np.triu_indices(count)] = np.nan
    found = ranking(values, [Pairs(slice(0, count), slice(0, count), lambda: Compared(ratio, freedom))])
    adjusted = holm(p_values[np.tril_indices(count, -1)].tolist())
    assert sum(high - low for low, high in found.intervals) == count * (count - 1) - 2 * sum(p < 0.05 for p in adjusted)
    places = np.empty(count, dtype=int)
    places[np.argsort(-values)] = np.arange(1, count + 1)
    assert all(low <= place <= high for place, (low, high) in zip(places, found.intervals, strict=True))


def p_values_of(bootstrap: PairedBootstrap, domains: Sequence[str]) -> Floats:
    """(M, M), nan where a pair stands elsewhere."""
    found = np.full((bootstrap.num_rows, bootstrap.num_rows), np.nan)
    for rows, others, tests in bootstrap.means(domains).pairs():
        ratio, freedom = tests()
        found[rows, others] = 2 * stats.t.sf(ratio, freedom)
    return found


@pytest.mark.parametrize("num_seeds", [1, 4])
def test_all_pairs_at_once_are_the_pairs_one_by_one(num_seeds: int) -> None:
    rng = np.random.default_rng(num_seeds)
    rates = np.array([0.5, 0.5, 0.55, 0.7])[:, None, None] + rng.normal(0, 0.03, size=(4, num_seeds, 1))
    outcomes = {d: rng.random((4, num_seeds, n)) < rates for d, n in (("a", 300), ("b", 120))}
    for correct in outcomes.values():
        correct[1] = correct[0]
    bootstrap = PairedBootstrap(outcomes, num_draws=500)
    means, p_values = bootstrap.means(["a", "b"]), p_values_of(bootstrap, ["a", "b"])
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

    def numbers(block: int) -> tuple[Floats, list[tuple[int, int]], list[float]]:
        monkeypatch.setattr(products, "BLOCK", block)
        bootstrap = PairedBootstrap(outcomes, num_draws=300)
        assert len(list(bootstrap.means(["a", "b"]).pairs())) == (10 if block == 7 else 1)
        lows = [of.low for of in bootstrap.differences(3, ["a"])]
        return p_values_of(bootstrap, ["a", "b"]), rank(bootstrap, ["a", "b"]).intervals, lows

    whole, by_block = numbers(1024), numbers(7)
    lower = np.tril_indices(23, -1)
    assert by_block[0][lower] == pytest.approx(whole[0][lower], rel=1e-4)
    assert np.isnan(whole[0][np.triu_indices(23)]).all() and whole[0][20, 1] == 1
    assert by_block[1] == whole[1]
    assert by_block[2] == pytest.approx(whole[2], rel=1e-6)
