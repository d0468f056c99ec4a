"""Contributions of seeds with images of their own: they average to each seed's number, and their intervals cover."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.analysis.calibration import binned
from orchestrator.analysis.image_sets import over_union
from orchestrator.analysis.linear import moments, of_classes_over_union, spans
from orchestrator.analysis.metrics import class_means, expected_calibration_error
from orchestrator.analysis.statistics import PairedBootstrap


class Sets:
    """Outcomes of S seeds on sets of their own, 0 elsewhere."""

    def __init__(self, num_seeds: int, num_images: int, share: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.inside = rng.random((num_seeds, num_images)) < share
        self.inside[:, :20] = True
        self.labels = (np.arange(num_images) % 5).astype(np.int32)
        self.correct = (rng.random((num_seeds, num_images)) < 0.6) & self.inside
        self.confidences = np.where(self.inside, rng.uniform(0.2, 1.0, self.inside.shape), 0).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(num_seeds=st.integers(1, 5), num_images=st.integers(21, 90), seed=st.integers(0, 2**16))
def test_contributions_average_to_the_number_of_each_seed(num_seeds: int, num_images: int, seed: int) -> None:
    of = Sets(num_seeds, num_images, 0.5, seed)
    bins = binned(of.confidences, of.correct, 5, of.inside)
    errors = moments(over_union(bins.contributions, of.inside)[None]).by_seed[0]
    right = moments(over_union(of.correct, of.inside)[None]).by_seed[0]
    classes = of_classes_over_union(of.correct[None], of.labels, of.inside[None])
    assert classes is not None
    by_class = moments(classes).by_seed[0]
    for row, own in enumerate(of.inside):
        assert right[row] == pytest.approx(of.correct[row, own].mean(), abs=1e-5)
        expected = expected_calibration_error(of.confidences[row, own], of.correct[row, own], 5)
        assert errors[row] == pytest.approx(expected, abs=1e-5)
        each = [c.mean for c in class_means(of.labels[own], of.correct[row, own])]
        assert by_class[row] == pytest.approx(np.mean(each), abs=1e-5)
        assert bins.counts[row].sum() == own.sum()


def test_one_set_is_as_it_was() -> None:
    correct = np.random.default_rng(0).random((2, 3, 40)) < 0.7
    assert over_union(correct, np.ones((3, 40), bool)) == pytest.approx(correct.astype(np.float32), abs=1e-6)


@pytest.mark.parametrize("extra", [0, 500])
def test_images_that_a_row_never_saw_change_nothing(extra: int) -> None:
    """A union is of all rows; a row's interval is that over its own images but for a degree of freedom or two."""
    of = Sets(3, 400, 0.8, 1)
    used = of.inside.any(axis=0)
    [own] = spans([(1.0, moments(over_union(of.correct[:, used], of.inside[:, used])[None]))]).halves
    wide = [np.pad(of_seeds, ((0, 0), (0, extra))) for of_seeds in (of.correct, of.inside)]
    [found] = spans([(1.0, moments(over_union(*wide)[None]))]).halves
    assert found == pytest.approx(own, rel=0.01)


@pytest.mark.parametrize(
    ("share", "image_sd", "seed_sd"), [(0.8, 0.2, 0.05), (0.8, 0.2, 0.0), (0.2, 0.2, 0.05), (0.2, 0.0, 0.0)]
)
def test_intervals_cover(share: float, image_sd: float, seed_sd: float) -> None:
    """93 to 99.5 % of 500 worlds; a standard error is 1 %. Rather too often where seeds make no difference."""
    rng, seeds, pool, hits, worlds = np.random.default_rng(5), 3, 200, 0, 500
    found = []
    for _ in range(worlds):
        inside = np.argsort(rng.random((seeds, pool)), axis=1) < share * pool
        chance = 0.6 + rng.normal(0, image_sd, pool).clip(-0.4, 0.4) + rng.normal(0, seed_sd, (seeds, 1))
        found.append(over_union((rng.random((seeds, pool)) < chance) & inside, inside))
    numbers = spans([(1.0, moments(np.stack(found)))])
    hits = int((abs(numbers.values - 0.6) <= numbers.halves).sum())
    assert 0.925 * worlds <= hits <= 0.995 * worlds


def test_draws_take_contributions_as_they_take_booleans() -> None:
    correct = np.random.default_rng(3).random((4, 3, 300)) < 0.6
    as_they_are = PairedBootstrap({"d": correct})
    as_numbers = PairedBootstrap({"d": correct.astype(np.float32)})
    for one, other in zip(as_they_are.differences(0, ["d"]), as_numbers.differences(0, ["d"]), strict=True):
        assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-7)
