"""Intervals of what is no accuracy (NLL, ECE, H, means over classes, worst domain), by linearising it. No ray, no torch.

Each is a smooth function of the per-image outcomes. To first order such a function is a mean over seeds and images, and so it
has the two-way model of `statistics`: write it as contributions z[s, i] of seed s and image i of each domain, with

    sum_d w_d mean_si z_d[s, i] = the number itself,      z - mean z = its influence function,

(the infinitesimal jackknife: Efron, The Jackknife, the Bootstrap and Other Resampling Plans, 1982, chapter 6; van der Vaart,
Asymptotic Statistics, 1998, chapter 20). For one number no draws are needed: those of `PairedBootstrap` converge to the moments
of z, so its interval is mean +- t sqrt(V) with

    V = max(0, MS_seed - MS_interaction) / (S N)  +  sum_d w_d^2 (N_d - 1) / N_d  MS_image,d / (S N_d)

in the notation there, and t of the same degrees of freedom. It takes as long as reading the numbers, and it has no Monte-Carlo
error. Intervals of accuracies and of their differences, p-values and ranks stay with the draws, which all rows share.

Where a function has a kink it has no linear part, and the interval holds on one side of it alone: an ECE where a bin's accuracy
is its confidence, the worst domain where two are equally bad. Such numbers are biased too (the ECE of few images upward, the
lowest of several accuracies downward), and no interval around a biased number mends that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from orchestrator.analysis.image_sets import over_union
from orchestrator.analysis.intervals import Interval
from orchestrator.analysis.products import Floats, Outcomes
from orchestrator.analysis.statistics import freedom

Contributions = NDArray[np.float32]
"""(R, S, N) of R rows with S seeds on N images"""
FRACTION = (0.0, 1.0)
"""What an accuracy or an ECE can be, for `Spans.intervals`."""


@dataclass(frozen=True, slots=True)
class Moments:
    """What an interval needs of the contributions of R rows on one domain."""

    by_seed: Floats
    """(R, S) means over the images"""
    interaction: Floats
    """(R,) mean square of the interaction of seed and image; zeros for one seed"""
    image_variance: Floats
    """(R,) variance over the images of the means over the seeds"""
    num_images: int


class Spans(NamedTuple):
    """Numbers of R rows, (R,), half of what their intervals span, and what that is made of."""

    values: Floats
    halves: Floats
    errors: Floats
    """(R,) standard errors"""
    freedom: Floats
    """(R,) degrees of freedom"""

    def p_values(self) -> list[float]:
        """Two-sided, against 0."""
        away = np.divide(abs(self.values), self.errors, out=np.zeros_like(self.values), where=self.errors > 0)
        found: Floats = np.where(self.errors > 0, 2 * special.stdtr(self.freedom, -away), self.values == 0)
        return [float(p) for p in found]

    def intervals(self, least: float = -np.inf, most: float = np.inf) -> list[Interval | None]:
        """Those that are finite, clipped to what the number can be."""
        found = self.values - self.halves, self.values + self.halves
        ends = zip(*(np.clip(of, least, most).tolist() for of in found), np.isfinite(found[1]), strict=True)
        return [Interval(low=low, high=high) if finite else None for low, high, finite in ends]


def moments(values: Contributions) -> Moments:
    """Of contributions (R, S, N). Not finite where a contribution is not."""
    _, seeds, images = values.shape
    by_seed = values.mean(axis=2, dtype=np.float64)
    with np.errstate(invalid="ignore"):  # inf - inf: nan, and no interval
        rest = values - by_seed[:, :, None].astype(np.float32)
        means = rest.mean(axis=1)
        of_images = np.einsum("rn,rn->r", means, means).astype(np.float64)
        whole = np.einsum("rsn,rsn->rs", rest, rest).sum(axis=1, dtype=np.float64)
        crossed = np.maximum(0.0, whole - seeds * of_images) / max((seeds - 1) * (images - 1), 1)
    return Moments(by_seed, crossed if seeds > 1 else np.zeros(len(values)), of_images / max(images - 1, 1), images)


def spans(parts: Sequence[tuple[float, Moments]], confidence: float = 0.95) -> Spans:
    """The sum over domains of weight x mean over seeds and images, and how sure it is; domains are fixed.

    Raises ValueError without parts.
    """
    if not parts:
        raise ValueError("expected the moments of one domain at least")
    none = np.zeros(parts[0][1].by_seed.shape[0])
    seeds = parts[0][1].by_seed.shape[1]
    by_seed = sum((weight * part.by_seed for weight, part in parts), start=np.zeros(parts[0][1].by_seed.shape))
    with np.errstate(invalid="ignore"):
        between = by_seed.var(axis=1, ddof=1) if seeds > 1 else none
        noise = sum((weight**2 * part.interaction / part.num_images for weight, part in parts), start=none)
        images = sum((weight**2 * part.image_variance / part.num_images for weight, part in parts), start=none)
        drawn = sum(
            (weight**2 * part.image_variance * (part.num_images - 1) / part.num_images**2 for weight, part in parts),
            start=none,
        )
        variance = np.maximum(0.0, between - noise) / seeds + drawn
        smallest = min(part.num_images for _, part in parts)
        degrees, errors = freedom(variance, between / seeds, images, seeds, smallest), np.sqrt(variance)
        return Spans(by_seed.mean(axis=1), special.stdtrit(degrees, (1 + confidence) / 2) * errors, errors, degrees)


def in_worst(correct: Outcomes, worst: NDArray[np.bool_]) -> Contributions:
    """Contributions to the mean over seeds of the lowest accuracy, of weight 1; `worst`: (R, S) whether this domain has it."""
    return np.multiply(correct, worst[:, :, None], dtype=np.float32)


def of_classes(correct: NDArray[np.bool_], labels: NDArray[np.int32]) -> Contributions | None:
    """Contributions to the mean over classes of their accuracies, of weight 1; `labels`: (N,), `correct`: (R, S, N).

    A class is a stratum of n_c of the N images: N / (C n_c) (correct - its accuracy) sqrt(n_c / (n_c - 1)) around the mean, so
    that the variance is that of a stratified mean, with n_c - 1 below. None where a class has one image, for which there is
    no variance.
    """
    _, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.min() < 2:
        return None
    order = np.argsort(place, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    accuracies = np.add.reduceat(correct[:, :, order], starts, axis=2, dtype=np.float64) / counts
    means = accuracies.mean(axis=2, keepdims=True)
    scale = len(labels) / len(counts) / np.sqrt(counts * (counts - 1.0))
    found: Contributions = ((correct - accuracies[:, :, place]) * scale[place] + means).astype(np.float32)
    return found


def of_classes_over_union(
    correct: NDArray[np.bool_], labels: NDArray[np.int32], inside: NDArray[np.bool_]
) -> Contributions | None:
    """`of_classes` where seeds have images of their own: (R, S, N) whether each has the image. None as there."""
    found = np.zeros(correct.shape, np.float32)
    for row, seed in np.ndindex(*correct.shape[:2]):
        own = inside[row, seed]
        of_seed = of_classes(correct[row : row + 1, seed : seed + 1, own], labels[own])
        if of_seed is None:
            return None
        found[row, seed, own] = of_seed[0, 0]
    return over_union(found, inside)


def of_harmonic(seen: Contributions, unseen: Contributions) -> tuple[Contributions, Contributions]:
    """Contributions to the mean over seeds of H = 2 S U / (S + U), of weight 1/2 each; (R, S, N) those to S and to U.

    dH/dS = 2 U^2 / (S + U)^2. Where S and U are 0, so is H, and its contributions.
    """
    means = [values.mean(axis=2, keepdims=True, dtype=np.float64) for values in (seen, unseen)]
    total = means[0] + means[1]

    def ratio(above: Floats) -> Floats:
        found: Floats = np.divide(above, total, out=np.zeros_like(total), where=total > 0)
        return found

    harmonic = 2 * means[0] * ratio(means[1])
    slopes = [4 * ratio(means[1]) ** 2, 4 * ratio(means[0]) ** 2]
    one, two = (
        (slope * (values - mean) + harmonic).astype(np.float32)
        for slope, values, mean in zip(slopes, (seen, unseen), means, strict=True)
    )
    return one, two
