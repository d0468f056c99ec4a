"""Linearised numbers: contributions average to the number, vary as a plain bootstrap of it does, and intervals cover."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from orchestrator.analysis.calibration import binned
from orchestrator.analysis.linear import (
    FRACTION,
    Contributions,
    Moments,
    in_worst,
    moments,
    of_classes,
    of_harmonic,
    spans,
)
from orchestrator.analysis.metrics import calibration_bins, class_means, expected_calibration_error
from orchestrator.analysis.rows import harmonic
from orchestrator.analysis.statistics import PairedBootstrap

Floats = NDArray[np.float64]
Parts = list[tuple[float, Moments]]


class Sample:
    """Outcomes of one row with S seeds on two domains of which either may be a seed's worst, of ten classes."""

    def __init__(self, num_seeds: int, num_images: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.labels = np.arange(num_images) % 10
        hard = rng.uniform(-0.2, 0.2, num_images)
        effect = rng.choice([-0.12, 0.12], (2, num_seeds, 1)) + rng.normal(0, 0.03, (2, num_seeds, 1))
        effect[1] = -effect[0] - 0.1
        chance = np.clip(0.5 + hard + effect, 0.02, 0.98)
        self.correct = rng.random(chance.shape) < chance
        self.confidences = np.clip(chance + 0.3 + rng.normal(0, 0.05, chance.shape), 0, 1).astype(np.float32)
        self.nlls = rng.gamma(2.0, 1.2 - chance).astype(np.float32)


def nll(of: Sample, seeds: NDArray[np.intp], images: NDArray[np.intp]) -> float:
    return float(of.nlls[0][np.ix_(seeds, images)].mean(dtype=np.float64))


def ece(of: Sample, seeds: NDArray[np.intp], images: NDArray[np.intp]) -> float:
    errors = {
        s: expected_calibration_error(of.confidences[0, s, images], of.correct[0, s, images], 5) for s in {*seeds}
    }
    return float(np.mean([errors[s] for s in seeds]))


def class_mean(of: Sample, seeds: NDArray[np.intp], images: NDArray[np.intp], domain: int = 0) -> float:
    right = of.correct[domain][np.ix_(seeds, images)].mean(axis=0)
    return float(np.mean([c.mean for c in class_means(of.labels[images], right)]))


def by_seed(of: Sample, seeds: NDArray[np.intp], images: NDArray[np.intp]) -> list[tuple[float, float]]:
    accuracies = [of.correct[d][:, images].mean(axis=1) for d in (0, 1)]
    return [(float(accuracies[0][s]), float(accuracies[1][s])) for s in seeds]


def h_by_image(of: Sample, seeds: NDArray[np.intp], images: NDArray[np.intp]) -> float:
    return float(np.mean([harmonic(pair) for pair in by_seed(of, seeds, images)]))


def h_by_class(of: Sample, seeds: NDArray[np.intp], images: NDArray[np.intp]) -> float:
    of_seed = {s: [class_mean(of, np.array([s]), images, d) for d in (0, 1)] for s in {*seeds}}
    return float(np.mean([harmonic(of_seed[s]) for s in seeds]))


def worst(of: Sample, seeds: NDArray[np.intp], images: NDArray[np.intp]) -> float:
    return float(np.mean([min(pair) for pair in by_seed(of, seeds, images)]))


def contributions(of: Sample, name: str) -> list[tuple[float, Contributions]]:
    """(weight, contributions) of each domain that takes part."""
    first, second = (correct[None] for correct in of.correct)
    if name == "nll":
        return [(1.0, of.nlls[0][None])]
    if name == "ece":
        return [(1.0, binned(of.confidences[0], of.correct[0], 5).contributions[None])]
    classes = [found for c in (first, second) if (found := of_classes(c, of.labels.astype(np.int32))) is not None]
    if name == "class mean":
        return [(1.0, classes[0])]
    if name == "worst":
        lowest = of.correct.mean(axis=2).argmin(axis=0)[None]
        return [(1.0, in_worst(correct, lowest == place)) for place, correct in enumerate((first, second))]
    pair = (first.astype(np.float32), second.astype(np.float32)) if name == "h by image" else (classes[0], classes[1])
    return [(0.5, found) for found in of_harmonic(*pair)]


Number = Callable[[Sample, NDArray[np.intp], NDArray[np.intp]], float]
NUMBERS: dict[str, Number] = {
    "nll": nll,
    "ece": ece,
    "class mean": class_mean,
    "h by image": h_by_image,
    "h by class": h_by_class,
    "worst": worst,
}


@pytest.mark.parametrize("name", NUMBERS)
@settings(max_examples=25, deadline=None)
@given(num_seeds=st.integers(1, 6), num_images=st.integers(20, 90), seed=st.integers(0, 2**16))
def test_contributions_average_to_the_number(name: str, num_seeds: int, num_images: int, seed: int) -> None:
    of = Sample(num_seeds, num_images, seed)
    expected = NUMBERS[name](of, np.arange(num_seeds), np.arange(num_images))
    found = spans([(weight, moments(z)) for weight, z in contributions(of, name)])
    assert found.values == pytest.approx([expected], abs=1e-6)
    assert np.isfinite(found.halves).all()


@pytest.mark.parametrize("name", NUMBERS)
def test_a_plain_bootstrap_varies_as_the_contributions_do(name: str) -> None:
    """Seeds and images drawn with replacement in a loop, the number itself computed of each draw.

    Images are drawn within their classes for means over classes, whose classes are fixed, and both domains share the draw.
    The variance of such a draw (Owen 2007, section 4) is (S - 1) / S^2 between + within images + interaction / (S N); the
    interval takes less, as `statistics` says. 500 draws leave 3 % of error in a standard deviation.
    """
    of, rng = Sample(6, 400), np.random.default_rng(1)
    classes = [np.flatnonzero(of.labels == label) for label in range(10)]

    def drawn(both: bool) -> float:
        images = rng.integers(400, size=400)
        if "class" in name:
            images = np.concatenate([rng.choice(own, len(own)) for own in classes])
        return NUMBERS[name](of, rng.integers(6, size=6) if both else np.arange(6), images)

    parts = contributions(of, name)
    # One draw of images for both domains: their contributions go together.
    together = moments(sum((np.float32(weight) * z for weight, z in parts), start=np.zeros((1, 6, 400), np.float32)))
    of_images = together.image_variance[0] / 400
    between, crossed = together.by_seed[0].var(ddof=1), together.interaction[0]
    assert np.std([drawn(False) for _ in range(500)]) == pytest.approx(np.sqrt(of_images), rel=0.1)
    expected = np.sqrt(5 / 36 * between + of_images + crossed / 6 / 400)
    assert np.std([drawn(True) for _ in range(500)]) == pytest.approx(expected, rel=0.1)
    [half] = spans([(1.0, together)]).halves
    ours = np.sqrt(max(0.0, between - crossed / 400) / 6 + of_images * 399 / 400)
    assert stats.t.ppf(0.975, 399) < half / ours <= stats.t.ppf(0.975, 5) * 1.001


def test_accuracies_have_the_intervals_that_the_draws_converge_to() -> None:
    rng = np.random.default_rng(2)
    rate = 0.6 + rng.normal(0, 0.05, (3, 4, 1))
    correct = {d: rng.random((3, 4, n)) < rate for d, n in (("a", 300), ("b", 120))}
    drawn = PairedBootstrap(correct, num_draws=20_000).accuracies(["a", "b"])
    found = spans([(0.5, moments(of.astype(np.float32))) for of in correct.values()])
    assert found.values == pytest.approx([of.value for of in drawn])
    assert found.halves == pytest.approx([of.high - of.value for of in drawn], rel=0.02)


@pytest.mark.parametrize("seed_sd", [0.0, 0.1, 0.5])
def test_the_interval_of_an_nll_is_that_of_the_two_way_anova(seed_sd: float) -> None:
    seeds, images = 4, 60
    rng = np.random.default_rng(23)
    values = rng.gamma(2.0, 0.5, images) + rng.normal(0, seed_sd, (seeds, 1)) + rng.normal(0, 0.3, (seeds, images))
    found = spans([(1.0, moments(values[None].astype(np.float32)))])
    at = np.indices(values.shape).reshape(2, -1)
    table = pd.DataFrame({"nll": values.ravel(), "seed": at[0], "image": at[1]})
    anova = anova_lm(ols("nll ~ C(seed) + C(image)", table).fit())
    of_seed, of_image, of_rest = anova["sum_sq"] / anova["df"]
    cells = seeds * images
    variance = max(0.0, of_seed - of_rest) / cells + (images - 1) / images * of_image / cells
    degrees = variance**2 / ((of_image / cells) ** 2 / (images - 1) + (of_seed / cells) ** 2 / (seeds - 1))
    assert found.values == pytest.approx([values.mean()])
    assert found.halves == pytest.approx([stats.t.ppf(0.975, max(1.0, degrees)) * np.sqrt(variance)], rel=1e-4)


def test_one_seed_has_students_interval_over_its_images() -> None:
    values = np.random.default_rng(3).gamma(2.0, 0.5, (1, 1, 200)).astype(np.float32)
    found = spans([(1.0, moments(values))])
    expected = stats.t.ppf(0.975, 199) * stats.sem(values.ravel()) * np.sqrt(199 / 200)
    assert found.halves == pytest.approx([expected], rel=1e-4)


def test_a_class_mean_has_the_error_of_a_stratified_mean() -> None:
    """By hand: sqrt(sum of s_c^2 / n_c) / C, of one seed."""
    rng = np.random.default_rng(4)
    labels = np.repeat([3, 5, 9], [4, 40, 400]).astype(np.int32)
    correct = rng.random((1, 1, 444)) < np.array([0.5] * 4 + [0.3] * 40 + [0.9] * 400)
    found = of_classes(correct, labels)
    assert found is not None
    spread = [correct[0, 0, labels == label].var(ddof=1) / np.sum(labels == label) for label in (3, 5, 9)]
    expected = stats.t.ppf(0.975, 443) * np.sqrt(np.sum(spread)) / 3
    assert spans([(1.0, moments(found))]).halves == pytest.approx([expected], rel=1e-4)
    assert of_classes(correct, np.concatenate([[7], labels[1:]]).astype(np.int32)) is None, "one image says nothing"


@pytest.mark.parametrize("num_bins", [1, 7, 15, 1000])
def test_bins_are_those_of_the_metrics_on_every_edge(num_bins: int) -> None:
    edges = np.linspace(0, 1, num_bins + 1, dtype=np.float32)
    sides = [np.nextafter(edges, np.float32(side)) for side in (0, 1)]
    confidences = np.clip(np.concatenate([edges, *sides, np.random.default_rng(0).random(999, np.float32)]), 0, 1)
    correct = np.arange(len(confidences)) % 3 > 0
    found = binned(confidences[None], correct[None], num_bins)
    assert found.counts[0].tolist() == [of.num_images for of in calibration_bins(confidences, correct, num_bins)]
    error = expected_calibration_error(confidences, correct, num_bins)
    assert found.contributions.mean(dtype=np.float64) == pytest.approx(error, abs=1e-7)


@pytest.mark.parametrize("bad", [-0.1, 1.1, np.nan])
def test_confidences_that_are_none_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        binned(np.array([[0.5, bad]], np.float32), np.array([[True, False]]))


def test_what_is_not_finite_has_no_interval_and_takes_none_away() -> None:
    values = np.random.default_rng(5).random((3, 2, 50)).astype(np.float32)
    values[1, 0, 7] = np.inf
    first, second, third = spans([(1.0, moments(values))]).intervals(0.0)
    assert second is None and first is not None and third is not None
    [clipped] = spans([(1.0, moments(np.array([[[0.0] * 9 + [1.0]]], np.float32)))]).intervals(0.0)
    assert clipped is not None and clipped.low == 0 < clipped.high
    with pytest.raises(ValueError, match="one domain"):
        spans([])


RUNS, SEEDS, IMAGES = 1000, 3, 400


def nll_contributions(rng: np.random.Generator) -> tuple[Contributions, float]:
    """Of 1,000 sweeps: skewed, images shared by seeds, a seed has an effect of its own. The true mean is 1.2."""
    images = rng.gamma(2.0, 0.5, (RUNS, 1, IMAGES))
    seeds = rng.normal(0, 0.05, (RUNS, SEEDS, 1))
    return (images + seeds + rng.gamma(1.0, 0.2, (RUNS, SEEDS, IMAGES))).astype(np.float32), 1.2


def ece_contributions(rng: np.random.Generator, gap: float = 0.15) -> tuple[Contributions, float]:
    """Of models too sure by `gap`, which a seed moves by 0.02: the true error of five bins while no seed is calibrated."""
    shape = (RUNS, SEEDS, IMAGES)
    confidences = rng.uniform(0.4, 1.0, (RUNS, 1, IMAGES)) + np.zeros(shape)
    common, own = rng.normal(size=(RUNS, 1, IMAGES)), rng.normal(size=shape)
    uniform = stats.norm.cdf((common + own) / np.sqrt(2))
    correct = uniform < confidences - gap - (rng.normal(0, 0.02, (RUNS, SEEDS, 1)) if gap else 0)
    flat = -1, IMAGES
    found = binned(confidences.reshape(flat).astype(np.float32), correct.reshape(flat), 5)
    return found.contributions.reshape(shape), gap


def covered(found: Floats, halves: Floats, truth: float) -> float:
    return float(np.mean(np.abs(found - truth) <= halves))


@pytest.mark.parametrize("simulate", [nll_contributions, ece_contributions])
def test_intervals_cover_the_truth_as_often_as_they_say(
    simulate: Callable[[np.random.Generator], tuple[Contributions, float]],
) -> None:
    """1,000 sweeps leave a standard error of 0.7 points. The control takes outcomes of all seeds for independent."""
    values, truth = simulate(np.random.default_rng(6))
    found = spans([(1.0, moments(values))])
    assert abs(covered(found.values, found.halves, truth) - 0.95) <= 0.02
    naive = 1.96 * values.std(axis=(1, 2), ddof=1) / np.sqrt(SEEDS * IMAGES)
    assert covered(found.values, naive, truth) < 0.93 - 0.1


def test_a_calibrated_model_is_where_the_interval_of_an_ece_does_not_hold() -> None:
    """Every bin is at the kink: the error of few images is never 0, and no interval around it is right."""
    values, truth = ece_contributions(np.random.default_rng(7), 0.0)
    found = spans([(1.0, moments(values))])
    assert covered(found.values, found.halves, truth) < 0.8


def test_intervals_end_where_the_number_does() -> None:
    """Clipped by what they are asked for; one that is not finite stays none."""
    values = np.zeros((3, 1, 30), dtype=np.float32)
    values[0, 0, 1:] = 1
    values[1, 0, 0] = 1
    values[2, 0, 0] = np.inf
    free, clipped = spans([(1.0, moments(values))]).intervals(), spans([(1.0, moments(values))]).intervals(*FRACTION)
    (first, second), (full, empty) = [(of[0], of[1]) for of in (free, clipped)]
    assert first is not None and second is not None and full is not None and empty is not None
    assert (full.low, full.high) == (first.low, 1) and first.high > 1
    assert (empty.low, empty.high) == (0, second.high) and second.low < 0
    assert free[2] is clipped[2] is None
