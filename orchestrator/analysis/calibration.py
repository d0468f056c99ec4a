"""Calibration curves and changes by class of a row, from its per-image outcomes. No ray, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.analysis.image_sets import Inside, image_gains
from orchestrator.analysis.intervals import Calibration, ClassChange, ClassChanges, CurveBin
from orchestrator.analysis.metrics import NUM_BINS

NUM_CLASSES_SHOWN = 5
"""of the classes that gain most, and of those that lose most"""


@dataclass(frozen=True, slots=True)
class Binned:
    """Outcomes of K predictors on N images of one domain by bins of confidence, of which there are B."""

    counts: NDArray[np.int64]
    """(K, B) images"""
    right: NDArray[np.int64]
    """(K, B) images that are right"""
    confidence: NDArray[np.float64]
    """(K, B) sums of confidences"""
    contributions: NDArray[np.float32]
    """(K, N): their means over the images are the calibration errors (`orchestrator.analysis.linear`)"""


def binned(
    confidences: NDArray[np.float32],
    correct: NDArray[np.bool_],
    num_bins: int = NUM_BINS,
    inside: NDArray[np.bool_] | None = None,
) -> Binned:
    """Sort the outcomes of K predictors, (K, N) each, into the bins of `metrics.calibration_bins`.

    An image contributes sign (correct - confidence) to the calibration error, the sign that of accuracy minus confidence in
    its bin. Where not `inside`, (K, N), there is no image; correct and confidence must be 0, and so is the contribution. Raises
    ValueError for confidences outside [0, 1].
    """
    if not (confidences.min(initial=0.0) >= 0 and confidences.max(initial=0.0) <= 1):  # not so either for nan
        raise ValueError("confidences must lie in [0, 1]")
    shape = len(confidences), num_bins
    places = _places(confidences, num_bins)
    places += num_bins * np.arange(len(confidences))[:, None]
    flat, length = places.ravel(), shape[0] * shape[1]
    counts = np.bincount(flat if inside is None else flat[inside.ravel()], minlength=length)
    right = np.bincount(flat[correct.ravel()], minlength=length)
    sums: NDArray[np.float64] = np.bincount(flat, weights=confidences.ravel(), minlength=length).astype(np.float64)
    signs = np.sign(right - sums).astype(np.float32)
    contributions = signs.take(places)
    contributions *= np.subtract(correct, confidences, dtype=np.float32)
    return Binned(counts.reshape(shape), right.reshape(shape), sums.reshape(shape), contributions)


def _places(confidences: NDArray[np.float32], num_bins: int) -> NDArray[np.intp]:
    """The bin of each; by arithmetic, and where rounding could matter by looking at the edges: ten times as fast."""
    scaled = confidences * np.float32(num_bins)
    places: NDArray[np.intp] = np.ceil(scaled).astype(np.intp)
    places -= 1
    near = (
        np.abs(scaled - np.rint(scaled)) < num_bins * 2.0**-22
    )  # rounding of the product and of an edge: 2 ** -24 each
    if near.any():
        edges = np.linspace(0, 1, num_bins + 1, dtype=np.float32)
        places[near] = np.clip(np.searchsorted(edges, confidences[near], side="left") - 1, 0, num_bins - 1)
    return places


def curve(of: Sequence[Binned], rows: slice) -> Calibration:
    """The bins that have images, over all images of some domains with some of the predictors together."""
    counts, right, confidence = (
        sum(found[rows].sum(axis=0) for found in sums)
        for sums in zip(*((o.counts, o.right, o.confidence) for o in of), strict=True)
    )
    return Calibration(
        bins=tuple(
            CurveBin(num_images=n, accuracy=hits / n, confidence=total / n)
            for n, hits, total in zip(counts.tolist(), right.tolist(), confidence.tolist(), strict=True)
            if n
        )
    )


def class_changes(
    labels: Sequence[NDArray[np.int32]],
    ours: Sequence[NDArray[np.bool_]],
    others: Sequence[NDArray[np.bool_]],
    both: Sequence[Inside | None] = (),
) -> ClassChanges:
    """The classes that gain and lose most; for each domain (N,) labels and (S, N) outcomes of the two rows.

    Every image counts the same, whatever its domain; classes that do not differ are left out. `both`: for each domain whether
    both rows have the image with this seed, None where they have all of them.
    """
    gains = [image_gains(*rows) for rows in zip(ours, others, both or [None] * len(labels), strict=True)]
    where = np.concatenate([of[places] for of, (places, _) in zip(labels, gains, strict=True)])
    counts = np.bincount(where)
    sums = np.bincount(where, weights=np.concatenate([gain for _, gain in gains]))
    means = np.divide(sums, counts, out=np.zeros(len(counts)), where=counts > 0)
    order = np.argsort(-means, kind="stable"), np.argsort(means, kind="stable")
    # Built for those that are kept alone: the rows of a large board have millions of classes.
    most, least = (
        tuple(
            ClassChange(label=label, difference=float(means[label]), num_images=int(counts[label]))
            for label in of[:NUM_CLASSES_SHOWN].tolist()
            if sign * means[label] > 0
        )
        for of, sign in zip(order, (1, -1), strict=True)
    )
    return ClassChanges(gains=most, losses=least)
