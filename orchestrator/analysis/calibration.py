"""Calibration curves and changes by class of a row, from its per-image outcomes. No ray, no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from orchestrator.analysis.intervals import Calibration, ClassChange, ClassChanges, CurveBin
from orchestrator.analysis.metrics import NUM_BINS, calibration_bins

NUM_CLASSES_SHOWN = 5
"""of the classes that gain most, and of those that lose most"""


def curve(
    confidences: Sequence[NDArray[np.float32]], correct: Sequence[NDArray[np.bool_]], num_bins: int = NUM_BINS
) -> Calibration:
    """Bins over all given images together; each array is (images,) of a domain with a seed."""
    bins = calibration_bins(np.concatenate(confidences), np.concatenate(correct), num_bins)
    return Calibration(
        bins=tuple(
            CurveBin(num_images=b.num_images, accuracy=b.accuracy, confidence=b.confidence)
            for b in bins
            if b.num_images
        )
    )


def class_changes(
    labels: Sequence[NDArray[np.int32]], ours: Sequence[NDArray[np.bool_]], others: Sequence[NDArray[np.bool_]]
) -> ClassChanges:
    """The classes that gain and lose most; for each domain (N,) labels and (S, N) outcomes of the two rows.

    Every image counts the same, whatever its domain; classes that do not differ are left out.
    """
    where = np.concatenate(list(labels))
    gain = np.concatenate([(a.mean(axis=0) - b.mean(axis=0)) for a, b in zip(ours, others, strict=True)])
    counts, sums = np.bincount(where), np.bincount(where, weights=gain)
    changes = [
        ClassChange(label=int(label), difference=float(sums[label] / counts[label]), num_images=int(counts[label]))
        for label in np.flatnonzero(counts)
    ]
    gains = sorted((c for c in changes if c.difference > 0), key=lambda c: (-c.difference, c.label))
    losses = sorted((c for c in changes if c.difference < 0), key=lambda c: (c.difference, c.label))
    return ClassChanges(gains=tuple(gains[:NUM_CLASSES_SHOWN]), losses=tuple(losses[:NUM_CLASSES_SHOWN]))
