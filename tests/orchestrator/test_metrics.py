"""Metrics agree with torchmetrics and hand computations; the line of effective robustness with scipy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error

from orchestrator.analysis.metrics import (
    ClassMean,
    calibration_bins,
    class_means,
    expected_calibration_error,
    pearson,
    relative_accuracy,
)
from orchestrator.analysis.robustness import fit_line


@pytest.mark.parametrize("num_bins", [10, 15, 100])
def test_ece_is_that_of_torchmetrics(num_bins: int) -> None:
    generator = torch.Generator().manual_seed(num_bins)
    probabilities = torch.randn(5000, 7, generator=generator).mul(2).softmax(dim=-1)
    labels = torch.randint(7, (5000,), generator=generator)
    confidences, predictions = probabilities.max(dim=-1)
    ours = expected_calibration_error(confidences.numpy(), (predictions == labels).numpy(), num_bins)
    theirs = multiclass_calibration_error(probabilities, labels, num_classes=7, n_bins=num_bins, norm="l1")
    assert ours == pytest.approx(theirs.item(), abs=1e-6)


def test_ece_by_hand() -> None:
    """Two bins: three images at 0.4 with one right, one at 1.0 that is wrong."""
    confidences = np.array([0.4, 0.4, 0.4, 1.0])
    correct = np.array([True, False, False, False])
    assert expected_calibration_error(confidences, correct, 2) == pytest.approx(0.75 * abs(1 / 3 - 0.4) + 0.25)
    low, high = calibration_bins(confidences, correct, 2)
    assert (low.num_images, low.accuracy, high.num_images, high.confidence) == (3, pytest.approx(1 / 3), 1, 1.0)


@settings(max_examples=80, deadline=None)
@given(arrays.arrays(np.float32, st.integers(1, 60), elements=st.floats(0, 1, width=32)), st.integers(1, 30))
def test_every_image_is_in_one_bin_and_perfect_calibration_is_zero(confidences: np.ndarray, num_bins: int) -> None:
    bins = calibration_bins(confidences, np.ones(len(confidences), bool), num_bins)
    assert sum(b.num_images for b in bins) == len(confidences)
    ece = expected_calibration_error(confidences, np.ones(len(confidences), bool), num_bins)
    assert ece == pytest.approx(float((1 - confidences.astype(float)).mean()), abs=1e-6)
    assert expected_calibration_error(np.ones(3, np.float32), np.ones(3, bool), num_bins) == 0.0


def test_confidences_are_checked() -> None:
    with pytest.raises(ValueError, match="at least one"):
        calibration_bins(np.array([]), np.array([], bool))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        calibration_bins(np.array([np.nan]), np.array([True]))


def test_class_accuracies_are_those_of_torchmetrics() -> None:
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(5, size=200), rng.integers(5, size=200)
    ours = class_means(labels, predictions == labels)
    theirs = multiclass_accuracy(torch.tensor(predictions), torch.tensor(labels), num_classes=5, average=None)
    assert [(c.label, c.num_images) for c in ours] == list(enumerate(np.bincount(labels)))
    assert [c.mean for c in ours] == pytest.approx(theirs.tolist())
    assert class_means(np.array([4, 4, 1]), np.array([True, False, True])) == [
        ClassMean(1, 1.0, 1),
        ClassMean(4, 0.5, 2),
    ]


def test_relative_accuracy() -> None:
    assert relative_accuracy(0.3, 0.6) == pytest.approx(0.5)
    assert np.isnan(relative_accuracy(0.3, 0.0))


def test_the_correlation_is_that_of_numpy_with_fishers_interval_and_none_where_there_is_none() -> None:
    x, y = [0.01, 0.02, 0.05, 0.03], [0.9, 0.8, 0.5, 0.75]
    found = pearson(x, y)
    assert found.r == pytest.approx(np.corrcoef(x, y)[0, 1])
    half = stats.norm.ppf(0.975) / np.sqrt(len(x) - 3)
    fisher = np.tanh([np.arctanh(found.r) - half, np.arctanh(found.r) + half])
    assert [found.low, found.high] == pytest.approx(fisher.tolist())
    three = pearson(x[:3], y[:3])
    assert not np.isnan(three.r) and np.isnan(three.low) and np.isnan(three.high)
    assert np.isnan(pearson(x[:2], y[:2]).r)
    assert np.isnan(pearson(x, [0.5] * 4).r)
    with pytest.raises(ValueError, match="4 and 3"):
        pearson(x, y[:3])


def test_the_line_is_that_of_scipy_with_its_band() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(1, 0.7, size=12)
    y = 0.9 * x - 0.5 + rng.normal(0, 0.1, size=12)
    reference, shift = 1 / (1 + np.exp(-x)), 1 / (1 + np.exp(-y))
    line = fit_line(reference.tolist(), shift.tolist())
    expected = stats.linregress(x, y)
    assert (line.slope, line.intercept) == pytest.approx((expected.slope, expected.intercept))
    assert line.r_squared == pytest.approx(expected.rvalue**2)
    # At logit 0 the band is the interval of the intercept, which scipy knows.
    half = stats.t.ppf(0.975, 10) * expected.intercept_stderr
    low, high = (np.log(edge / (1 - edge)) for edge in line.band(0.5))
    assert (low, high) == pytest.approx((expected.intercept - half, expected.intercept + half))


def test_models_on_the_line_have_no_effective_robustness() -> None:
    reference = np.array([0.5, 0.6, 0.7, 0.8])
    shift = 1 / (1 + np.exp(-(0.8 * np.log(reference / (1 - reference)) - 0.3)))
    line = fit_line(reference.tolist(), shift.tolist())
    assert line.r_squared == pytest.approx(1)
    assert line.effective_robustness(0.65, line.expected(0.65)) == 0
    assert line.effective_robustness(0.7, float(shift[2]) + 0.05) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("reference", "shift", "message"),
    [
        ([0.5, 0.6], [0.4, 0.5], "at least 3 models"),
        ([0.5] * 3, [0.4] * 3, "same reference"),
        ([0.5, 0.6, 1.0], [0.4] * 3, "logit"),
    ],
)
def test_no_line_without_points_for_one(reference: list[float], shift: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_line(reference, shift)
