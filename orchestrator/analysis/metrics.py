"""Metrics of one predictor on one split, from its per-image outcomes alone. No ray, no torch, no GPU.

`docs/metrics.md` has the definitions, units and ranges of all metrics in one place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUM_BINS = 15
"""Confidence bins of the calibration error: the default of Guo et al., ICML 2017; the paper of Lipsum-FT does not say."""

MIN_PAIRS = 3
"""of a correlation"""


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """The images whose confidence lies in (low, high]."""

    low: float
    high: float
    num_images: int
    accuracy: float
    """nan without images"""
    confidence: float
    """mean over the images; nan without images"""


def calibration_bins(
    confidences: NDArray[np.floating], correct: NDArray[np.bool_], num_bins: int = NUM_BINS
) -> list[CalibrationBin]:
    """Bins of equal width over [0, 1] with accuracy and mean confidence; `confidences` and `correct` are (N,).

    A confidence on an edge belongs to the bin below it, 0 to the first. Raises ValueError without images or for confidences
    outside [0, 1].
    """
    if not len(confidences) or len(confidences) != len(correct):
        raise ValueError(
            f"expected as many outcomes as confidences, at least one; got {len(correct)}, {len(confidences)}"
        )
    if not (np.all(confidences >= 0) and np.all(confidences <= 1)):
        raise ValueError("confidences must lie in [0, 1]")
    # In the precision in which they are stored: 0.2 as float32 is larger than 1/5.
    edges = np.linspace(0, 1, num_bins + 1, dtype=confidences.dtype)
    places = np.clip(np.searchsorted(edges, confidences, side="left") - 1, 0, num_bins - 1)
    counts = np.bincount(places, minlength=num_bins)
    with np.errstate(invalid="ignore"):
        accuracy = np.bincount(places, weights=correct, minlength=num_bins) / counts
        confidence = np.bincount(places, weights=confidences, minlength=num_bins) / counts
    return [
        CalibrationBin(float(edges[i]), float(edges[i + 1]), int(counts[i]), float(accuracy[i]), float(confidence[i]))
        for i in range(num_bins)
    ]


def expected_calibration_error(
    confidences: NDArray[np.floating], correct: NDArray[np.bool_], num_bins: int = NUM_BINS
) -> float:
    """ECE in [0, 1]: sum over bins of share of images x |accuracy - mean confidence|, over the whole split at once.

    Pakdaman Naeini et al., AAAI 2015; Guo et al., ICML 2017. Code that averages over batches (CaRot, TRACER) is biased
    upward and not comparable.
    """
    bins = [b for b in calibration_bins(confidences, correct, num_bins) if b.num_images]
    return sum(b.num_images * abs(b.accuracy - b.confidence) for b in bins) / len(correct)


@dataclass(frozen=True, slots=True)
class ClassMean:
    """The mean of something over the images of a class."""

    label: int
    mean: float
    num_images: int


def class_means(labels: NDArray[np.integer], values: NDArray[np.bool_ | np.floating]) -> list[ClassMean]:
    """Of outcomes: the accuracy of each class; of their differences: its change. Both arguments are (N,).

    In the order of labels; those without images are left out.
    """
    counts, sums = np.bincount(labels), np.bincount(labels, weights=values)
    return [ClassMean(int(i), float(sums[i] / counts[i]), int(counts[i])) for i in np.flatnonzero(counts)]


def relative_accuracy(shift: float, reference: float) -> float:
    """Accuracy on the shifted domain over that on the reference domain (Lipsum-FT, section 5); nan if the latter is 0."""
    return shift / reference if reference else float("nan")


@dataclass(frozen=True, slots=True)
class Correlation:
    """Pearson's r in [-1, 1] with its 95 % interval; nan where there is none."""

    r: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")


def pearson(x: Sequence[float], y: Sequence[float]) -> Correlation:
    """Pearson's correlation, as of energy gaps and relative accuracies of models (Lipsum-FT, section 5).

    nan for fewer than three pairs (two always lie on a line) and where one side does not vary. The interval is Fisher's, of
    the transformed r, and needs four pairs. Raises ValueError for unequal lengths.
    """
    if len(x) != len(y):
        raise ValueError(f"expected pairs, got {len(x)} and {len(y)} numbers")
    if len(x) < MIN_PAIRS or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Correlation()
    from scipy import stats  # here, because views alone need it, and to load it takes as long as to make a small page

    found = stats.pearsonr(x, y)
    if len(x) == MIN_PAIRS:
        return Correlation(float(found.statistic))
    interval = found.confidence_interval(0.95)
    return Correlation(float(found.statistic), float(interval.low), float(interval.high))


def logit(p: NDArray[np.floating]) -> NDArray[np.float64]:
    """log(p / (1 - p)), the scale in which accuracies under shift lie on lines (Taori et al., NeurIPS 2020)."""
    fractions: NDArray[np.float64] = np.asarray(p, dtype=np.float64)
    odds: NDArray[np.float64] = np.log(fractions) - np.log1p(-fractions)
    return odds
