"""Intervals and tests from per-image outcomes: how sure an accuracy or a difference is. No ray, no torch.

Two things vary: the seed (training) and the images (the sample that a domain's test split is). Every method sees the same
images and the same seeds, so differences are taken image by image and seed by seed, which removes most of the noise.

The bootstrap is hierarchical and paired: a draw takes seeds with replacement and images of each domain with replacement, the
same ones for every row. With outcomes a[s, i] of a statistic (an accuracy, or the difference of two), mean a.., and

    seed part   k sum_s v_s (a[s, .] - a..) / S ,   v: how often a draw has seed s
    image part    sum_i w_i (a[., i] - a..) / N ,   w: how often a draw has image i

a draw is a.. + both. Resampling cells (s, i) instead would count the interaction of seed and image up to three times (Owen,
The pigeonhole bootstrap, Annals of Applied Statistics 2007, section 4); k removes what the seed part has of it and mends the
small number of seeds,

    k^2 = S / (S - 1) * max(0, MS_seed - MS_interaction) / MS_seed ,

so that the variance of the draws is that of the two-way random effects model. An interval is a.. +- t s, s the standard
deviation of the draws and t Student's quantile at Satterthwaite's degrees of freedom, so three seeds are honest about being
three; where seeds make no difference at all such an interval is rather too wide (coverage 97 to 98 %). Domains are fixed:
nothing is said of domains that were not measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Correct = NDArray[np.bool_]
CHUNK_BYTES = 64 * 2**20
"""of the image counts that are in memory at a time"""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A statistic with its interval."""

    value: float
    low: float
    high: float
    p: float
    """two-sided, against 0"""
    num_seeds: int
    num_images: int


@dataclass(frozen=True)
class _Domain:
    """The margins of one domain's outcomes; M rows, S seeds, N images."""

    seed_means: Floats
    """(M, S)"""
    interaction: Floats
    """(M, M) mean products of the interaction of seed and image; zeros for one seed"""
    image_variance: Floats
    """(M, M) covariance of the means over seeds, over images"""
    draws: Floats
    """(M, B) image part"""
    num_images: int


class PairedBootstrap:
    """Draws for several rows on several domains, made once; every statistic of them is then cheap.

    `outcomes`: domain -> (M, S, N) whether row m with seed s is right on image i; S is the same in all domains, N may differ.
    A row that does not vary with the seed is given S times (`numpy.broadcast_to`, which copies nothing).
    Raises ValueError for shapes that do not fit.
    """

    def __init__(self, outcomes: Mapping[str, Correct], num_draws: int = 2000, seed: int = 0) -> None:
        shapes = {domain: correct.shape for domain, correct in outcomes.items()}
        if not shapes or any(len(shape) != 3 or 0 in shape for shape in shapes.values()):
            raise ValueError(f"outcomes must be (rows, seeds, images) and not empty, got {shapes}")
        if len({shape[:2] for shape in shapes.values()}) > 1:
            raise ValueError(f"all domains must have the same rows and seeds, got {shapes}")
        self.num_rows, self.num_seeds, _ = next(iter(shapes.values()))
        streams = np.random.SeedSequence(seed).spawn(len(outcomes) + 1)
        self._domains = {
            domain: _domain(correct, num_draws, np.random.default_rng(stream))
            for (domain, correct), stream in zip(outcomes.items(), streams[1:], strict=True)
        }
        chances = np.full(self.num_seeds, 1 / self.num_seeds)
        # (B, S) how often a draw has each seed, minus once
        self._seeds = np.random.default_rng(streams[0]).multinomial(self.num_seeds, chances, size=num_draws) - 1.0

    def accuracy(self, row: int, domains: Sequence[str], confidence: float = 0.95) -> Estimate:
        """Mean over domains of a row's accuracy, over seeds; `p` is of no interest."""
        return self._estimate(self._unit(row), domains, confidence)

    def difference(self, row: int, other: int, domains: Sequence[str], confidence: float = 0.95) -> Estimate:
        """Mean over domains of the difference in accuracy between two rows, `row` minus `other`."""
        return self._estimate(self._unit(row) - self._unit(other), domains, confidence)

    def pairwise(self, domains: Sequence[str]) -> tuple[Floats, Floats]:
        """(M, M) differences, row minus column, and their p-values: those of `difference`, for all pairs at once.

        A variance of a difference is made of covariances, so 150 rows (11,000 pairs) take no longer than a few.
        """
        parts = [self._domains[domain] for domain in domains]
        share, count, seeds = 1 / len(parts), self.num_rows, self.num_seeds
        by_seed = share * sum((part.seed_means for part in parts), start=np.zeros((count, seeds)))
        centred = by_seed - by_seed.mean(axis=1, keepdims=True)
        images = share * sum((part.draws for part in parts), start=np.zeros((count, len(self._seeds))))
        draws = np.cov(np.concatenate([images, centred @ self._seeds.T / seeds]))
        of_images, of_seeds, crossed = draws[:count, :count], draws[count:, count:], draws[:count, count:]
        between = _of_pairs(centred @ centred.T) / max(seeds - 1, 1)
        noise = _of_pairs(share**2 * sum((p.interaction / p.num_images for p in parts), start=np.zeros((count, count))))
        kept = np.maximum(0.0, between - noise)
        ratio = np.divide(kept, between, out=np.zeros_like(kept), where=between > 0)
        scale = np.sqrt(ratio * seeds / max(seeds - 1, 1))
        variance = _of_pairs(of_images) + scale * _quadratic(crossed + crossed.T) + scale**2 * _of_pairs(of_seeds)
        image_part = share**2 * sum((p.image_variance / p.num_images for p in parts), start=np.zeros((count, count)))
        least = max(min(part.num_images for part in parts) - 1, 1)
        below = _of_pairs(image_part) ** 2 / least + (between / seeds) ** 2 / max(seeds - 1, 1)
        freedom = np.maximum(1.0, np.divide(variance**2, below, out=np.full_like(below, least), where=below > 0))
        values = by_seed.mean(axis=1)
        differences = values[:, None] - values[None, :]
        ratio = np.divide(abs(differences), np.sqrt(variance), out=np.full_like(below, np.inf), where=variance > 0)
        p_values = np.where(differences == 0, 1.0, 2 * stats.t.sf(ratio, freedom))
        return differences, p_values

    def _unit(self, row: int) -> Floats:
        weights = np.zeros(self.num_rows)
        weights[row] = 1.0
        return weights

    def _estimate(self, rows: Floats, domains: Sequence[str], confidence: float) -> Estimate:
        parts = [self._domains[domain] for domain in domains]
        share = 1 / len(parts)
        by_seed = share * sum((rows @ part.seed_means for part in parts), start=np.zeros(self.num_seeds))
        value = float(by_seed.mean())
        images = share * sum((rows @ part.draws for part in parts), start=np.zeros(len(self._seeds)))
        between = float(by_seed.var(ddof=1)) if self.num_seeds > 1 else 0.0
        noise = share**2 * sum(float(rows @ part.interaction @ rows) / part.num_images for part in parts)
        kept = max(0.0, between - noise)
        scale = np.sqrt(kept / between * self.num_seeds / (self.num_seeds - 1)) if between > 0 else 0.0
        draws = images + scale * (self._seeds @ (by_seed - value)) / self.num_seeds
        spread = float(draws.std(ddof=1))
        image_part = share**2 * sum(float(rows @ part.image_variance @ rows) / part.num_images for part in parts)
        smallest = min(part.num_images for part in parts)
        freedom = self._freedom(spread**2, between / self.num_seeds, image_part, smallest)
        half = float(stats.t.ppf((1 + confidence) / 2, freedom)) * spread
        p = float(2 * stats.t.sf(abs(value) / spread, freedom)) if spread > 0 else float(value == 0)
        return Estimate(value, value - half, value + half, p, self.num_seeds, sum(part.num_images for part in parts))

    def _freedom(self, variance: float, seeds: float, images: float, num_images: int) -> float:
        """Satterthwaite's degrees of freedom of a variance made of the two mean squares, over seeds and over images."""
        below = images**2 / max(num_images - 1, 1) + (seeds**2 / (self.num_seeds - 1) if self.num_seeds > 1 else 0.0)
        return max(1.0, variance**2 / below) if below > 0 else float(max(num_images - 1, 1))


def _domain(correct: Correct, num_draws: int, rng: np.random.Generator) -> _Domain:
    rows, seeds, images = correct.shape
    seed_means = correct.mean(axis=2, dtype=np.float64)
    image_means = correct.mean(axis=1, dtype=np.float32)
    centred = image_means - image_means.mean(axis=1, keepdims=True)
    image_variance = (centred @ centred.T).astype(np.float64) / max(images - 1, 1)
    interaction = np.zeros((rows, rows))
    if seeds > 1 and images > 1:
        for seed in range(seeds):
            rest = correct[:, seed, :].astype(np.float32) - image_means
            rest -= rest.mean(axis=1, keepdims=True)
            interaction += rest @ rest.T
        interaction /= (seeds - 1) * (images - 1)
    return _Domain(seed_means, interaction, image_variance, _image_draws(centred, num_draws, rng), images)


def _image_draws(centred: NDArray[np.float32], num_draws: int, rng: np.random.Generator) -> Floats:
    """(M, B) sums of the centred means over resampled images, over N."""
    rows, images = centred.shape
    draws = np.empty((rows, num_draws))
    step = max(1, CHUNK_BYTES // (4 * images))
    for start in range(0, num_draws, step):
        size = min(step, num_draws - start)
        counts = np.empty((size, images), dtype=np.float32)
        for place in range(size):
            counts[place] = np.bincount(rng.integers(images, size=images, dtype=np.int32), minlength=images)
        draws[:, start : start + size] = centred @ counts.T / images
    return draws


def _quadratic(products: Floats) -> Floats:
    """(M, M) u' A u for u = row minus column and a symmetric A."""
    own = np.diag(products)
    found: Floats = own[:, None] + own[None, :] - 2 * products
    return found


def _of_pairs(products: Floats) -> Floats:
    """The same for covariances: nothing is below 0, and what rounding leaves of equal rows is 0."""
    own = np.diag(products)
    found = _quadratic(products)
    return np.where(found > 1e-12 * (own[:, None] + own[None, :]), found, 0.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for being several (Holm 1979): the k-th smallest of m times m - k + 1, never falling, at most 1."""
    order = np.argsort(p_values, kind="stable")
    adjusted, highest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted


@dataclass(frozen=True)
class Ranking:
    """Which rows of a board can be told apart, from all pairs of differences with Holm's adjustment over the pairs."""

    differences: Floats
    """(M, M) row minus column"""
    p_values: Floats
    """(M, M) adjusted; 1 on the diagonal"""
    level: float = 0.05

    @cached_property
    def intervals(self) -> list[tuple[int, int]]:
        """(best, worst) rank of each row: 1 + the rows that are surely better, M - the rows that are surely worse."""
        sure = self.p_values < self.level
        better = (sure & (self.differences < 0)).sum(axis=1)
        worse = (sure & (self.differences > 0)).sum(axis=1)
        return [(1 + int(up), len(self.p_values) - int(down)) for up, down in zip(better, worse, strict=True)]

    @property
    def tied_with_best(self) -> list[bool]:
        """Whether each row cannot be told from the row of the highest value; that row itself is."""
        best = int((self.differences < 0).sum(axis=1).argmin())
        return [bool(self.p_values[row, best] >= self.level) for row in range(len(self.p_values))]


def rank(bootstrap: PairedBootstrap, domains: Sequence[str], level: float = 0.05) -> Ranking:
    """Compare all pairs of rows on the mean over `domains`."""
    count = bootstrap.num_rows
    differences, raw = bootstrap.pairwise(domains)
    pairs = np.tril_indices(count, -1)
    p_values = np.ones((count, count))
    p_values[pairs] = holm(raw[pairs].tolist())
    p_values = np.minimum(p_values, p_values.T)
    return Ranking(differences, p_values, level)
