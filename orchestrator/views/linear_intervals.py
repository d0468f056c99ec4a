"""Intervals of our NLL, ECE and per-class accuracies over seeds and images, cell by cell. No ray, no torch.

By `orchestrator.analysis.linear`, which needs no draws; accuracies have theirs from `orchestrator.views.intervals`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.analysis.calibration import binned
from orchestrator.analysis.image_sets import over_union
from orchestrator.analysis.linear import (
    FRACTION,
    Contributions,
    Moments,
    moments,
    of_classes,
    of_classes_over_union,
    of_harmonic,
    spans,
)
from orchestrator.analysis.outcome_file import Blocks
from orchestrator.analysis.predictions import PredictionsError
from orchestrator.analysis.read_ahead import read_blocks
from orchestrator.records import Results
from orchestrator.views.intervals import Predictor, held_out, union_of
from orchestrator.views.spec import Column, Metric

METRICS: tuple[Metric, ...] = ("nll", "ece", "class_accuracy", "harmonic")
"""Those that have an interval here."""


@dataclass(frozen=True, slots=True)
class _Domain:
    """What the trials of a row said of a domain; where a seed lacks an image all is 0."""

    correct: NDArray[np.bool_]
    """(1, S, N)"""
    confidences: NDArray[np.float32]
    """(S, N)"""
    nlls: NDArray[np.float32]
    """(S, N), nats"""
    labels: NDArray[np.int32]
    inside: NDArray[np.bool_] | None
    """(S, N) whether a seed has the image; None where all have all"""

    def spread(self, of_seeds: NDArray[np.float32]) -> Contributions:
        """(1, S, N) of what seeds said."""
        return of_seeds[None] if self.inside is None else over_union(of_seeds, self.inside)[None]

    def nll(self) -> Contributions:
        """To the NLL."""
        return self.spread(self.nlls)

    def ece(self) -> Contributions:
        """To the calibration error."""
        return self.spread(binned(self.confidences, self.correct[0], inside=self.inside).contributions)

    def of_classes(self) -> Contributions | None:
        """To the mean over classes; None where a class has one image."""
        if self.inside is None:
            return of_classes(self.correct, self.labels)
        return of_classes_over_union(self.correct, self.labels, self.inside[None])


def linear_interval(results: Results, predictors: Sequence[Predictor], column: Column) -> tuple[float, float] | None:
    """The 95 % interval of a column of `METRICS`, in the published unit; `predictors`: the finished trials, one a seed.

    None where outcomes are missing or do not fit together, or a class has one image.
    """
    domains = column.domains or held_out(predictors)
    try:
        files = {trial: read_blocks(results, trial) for trial in dict.fromkeys(p.trial for p in predictors)}
        of_domains = [_said(files, [p for p in predictors if p.on(domain)], domain) for domain in domains]
        parts = _parts(column, of_domains) if predictors and of_domains else None
    except (PredictionsError, ValueError):
        return None
    if parts is None:
        return None
    (interval,) = spans(parts).intervals(*((0.0,) if column.metric == "nll" else FRACTION))
    return None if interval is None else (column.scale * interval.low, column.scale * interval.high)


def _said(files: Mapping[str, Blocks], predictors: Sequence[Predictor], domain: str) -> _Domain:
    """Raises PredictionsError if outcomes are missing or seeds are about other images than they should be."""
    places = [(p.trial, (p.variant, domain, "test")) for p in predictors]
    if lost := next((trial for trial, place in places if place not in files[trial]), ""):
        raise PredictionsError(f"{lost} has no per-image outcomes on {domain}")
    blocks = [files[trial][place] for trial, place in places]
    images = union_of(predictors, blocks)
    correct, confidences, nlls = (
        [b.correct for b in blocks],
        [b.confidences for b in blocks],
        [b.nlls for b in blocks],
    )
    if images is None:
        return _Domain(np.stack(correct)[None], np.stack(confidences), np.stack(nlls), blocks[0].labels, None)
    sets = [p.images for p in predictors]
    padded = images.padded(correct, sets)[None], images.padded(confidences, sets), images.padded(nlls, sets)
    return _Domain(*padded, images.labels, images.inside(sets))


def _parts(column: Column, of_domains: Sequence[_Domain]) -> list[tuple[float, Moments]] | None:
    """(weight, moments) of the domains of a mean, or of the two of a harmonic mean; None where a class has one image."""
    if column.metric in ("nll", "ece"):
        return [(1 / len(of_domains), moments(d.nll() if column.metric == "nll" else d.ece())) for d in of_domains]
    classes = [of.of_classes() for of in of_domains]
    known = [of for of in classes if of is not None]
    if len(known) < len(classes):
        return None
    if column.metric == "harmonic":
        seen, unseen = known
        return [(0.5, moments(of)) for of in of_harmonic(seen, unseen)]
    return [(1 / len(known), moments(of)) for of in known]
