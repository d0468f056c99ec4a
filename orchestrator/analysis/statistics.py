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
nothing is said of domains that were not measured. `linear` brings other numbers (NLL, ECE, H) into the same model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from orchestrator.analysis.pairs import Means, Ranking, ranking
from orchestrator.analysis.products import DomainProducts, Floats, Outcomes
from orchestrator.analysis.resampling import CHUNK_BYTES, image_draws


@dataclass(frozen=True, slots=True)
class Estimate:
    """A statistic with its interval, which ends where an accuracy, or a difference of two, does."""

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
    products: DomainProducts
    draws: Floats
    """(M, B) image part"""
    num_images: int


class PairedBootstrap:
    """Draws for several rows on several domains, made once; every statistic of them is then cheap.

    `outcomes`: domain -> (M, S, N) whether row m with seed s is right on image i, or what that contributes (`image_sets`); S is
    the same in all domains, N may differ.
    A row that does not vary with the seed is given S times (`numpy.broadcast_to`, which copies nothing).
    A domain's draws depend on its name alone, so that one comparison has one interval, whatever stands beside it.
    Raises ValueError for shapes that do not fit.
    """

    def __init__(self, outcomes: Mapping[str, Outcomes], num_draws: int = 2000, seed: int = 0) -> None:
        shapes = {domain: correct.shape for domain, correct in outcomes.items()}
        if not shapes or any(len(shape) != 3 or 0 in shape for shape in shapes.values()):
            raise ValueError(f"outcomes must be (rows, seeds, images) and not empty, got {shapes}")
        if len({shape[:2] for shape in shapes.values()}) > 1:
            raise ValueError(f"all domains must have the same rows and seeds, got {shapes}")
        self.num_rows, self.num_seeds, _ = next(iter(shapes.values()))
        self._domains = {
            domain: _domain(correct, num_draws, _stream(seed, domain)) for domain, correct in outcomes.items()
        }
        chances = np.full(self.num_seeds, 1 / self.num_seeds)
        # (B, S) how often a draw has each seed, minus once
        counts = np.random.default_rng(_stream(seed)).multinomial(self.num_seeds, chances, size=num_draws)
        self._seeds: Floats = counts.astype(np.float64) - 1.0

    def accuracy(self, row: int, domains: Sequence[str], confidence: float = 0.95) -> Estimate:
        """Mean over domains of a row's accuracy, over seeds; `p` is of no interest."""
        return self._estimates(np.array([row]), None, domains, confidence)[0]

    def accuracies(self, domains: Sequence[str], confidence: float = 0.95) -> list[Estimate]:
        """Those of all rows at once."""
        return self._chunks(None, domains, confidence)

    def difference(self, row: int, other: int, domains: Sequence[str], confidence: float = 0.95) -> Estimate:
        """Mean over domains of the difference in accuracy between two rows, `row` minus `other`."""
        return self._estimates(np.array([row]), other, domains, confidence)[0]

    def differences(self, other: int, domains: Sequence[str], confidence: float = 0.95) -> list[Estimate]:
        """Those of all rows to one, at once; that of the row itself is 0."""
        return self._chunks(other, domains, confidence)

    def seed_means(self, domain: str) -> Floats:
        """(M, S) accuracies of all rows on a domain."""
        return self._domains[domain].seed_means

    def means(self, domains: Sequence[str]) -> Means:
        """Means over domains of all rows, from which `difference` of all pairs can be had at once."""
        parts = [self._domains[domain] for domain in domains]
        return Means(
            [part.products for part in parts],
            _mean([part.seed_means for part in parts]),
            _mean([part.draws for part in parts]),
            self._seeds,
        )

    def _chunks(self, other: int | None, domains: Sequence[str], confidence: float) -> list[Estimate]:
        step = max(1, CHUNK_BYTES // (8 * len(self._seeds)))
        starts = range(0, self.num_rows, step)
        rows = [np.arange(start, min(start + step, self.num_rows)) for start in starts]
        return [found for chunk in rows for found in self._estimates(chunk, other, domains, confidence)]

    def _estimates(
        self, rows: NDArray[np.int_], other: int | None, domains: Sequence[str], confidence: float
    ) -> list[Estimate]:
        """Of some rows, minus another one if there is one."""
        parts = [self._domains[domain] for domain in domains]
        share, seeds = 1 / len(parts), self.num_seeds

        def versus(numbers: Floats) -> Floats:
            return numbers[rows] if other is None else numbers[rows] - numbers[other]

        def variance(part: _Domain, kind: int) -> Floats:
            own = part.products.own[kind]
            if other is None:
                return own[rows]
            found: Floats = own[rows] + own[other] - 2 * part.products.with_row(other)[kind][rows]
            return found

        none = np.zeros(len(rows))
        by_seed = share * sum((versus(part.seed_means) for part in parts), start=np.zeros((len(rows), seeds)))
        values = by_seed.mean(axis=1)
        between = by_seed.var(axis=1, ddof=1) if seeds > 1 else none
        noise = share**2 * sum((variance(part, 0) / part.num_images for part in parts), start=none)
        ratio = np.divide(np.maximum(0.0, between - noise), between, out=np.zeros(len(rows)), where=between > 0)
        scale = np.sqrt(ratio * seeds / max(seeds - 1, 1))
        draws = (scale[:, None] * (by_seed - values[:, None]) / seeds) @ self._seeds.T
        draws += share * sum((versus(part.draws) for part in parts), start=np.zeros(draws.shape))
        spread = draws.std(axis=1, ddof=1)
        image_part = share**2 * sum((variance(part, 1) / part.num_images for part in parts), start=none)
        smallest = min(part.num_images for part in parts)
        degrees = freedom(spread**2, between / seeds, image_part, seeds, smallest)
        half = special.stdtrit(degrees, (1 + confidence) / 2) * spread
        away = np.divide(abs(values), spread, out=np.zeros(len(rows)), where=spread > 0)
        p_values = np.where(spread > 0, 2 * special.stdtr(degrees, -away), values == 0)
        num_images = sum(part.num_images for part in parts)
        least, most = (0.0, 1.0) if other is None else (-1.0, 1.0)
        ends = (np.clip(of, least, most).tolist() for of in (values - half, values + half))
        return [
            Estimate(value, low, high, p, seeds, num_images)
            for value, low, high, p in zip(values.tolist(), *ends, p_values.tolist(), strict=True)
        ]


def _mean(parts: Sequence[Floats]) -> Floats:
    """Of one the part itself, of several one more array alone: draws of 10,000 rows take 160 MB for each domain."""
    if len(parts) == 1:
        return parts[0]
    found = parts[0].copy()
    for part in parts[1:]:
        found += part
    found *= 1 / len(parts)
    return found


def freedom(variance: Floats, seeds: Floats, images: Floats, num_seeds: int, num_images: int) -> Floats:
    """Satterthwaite's degrees of freedom of (R,) variances made of the two mean squares, over seeds and over images."""
    most = max(num_images - 1, 1)
    below = images**2 / most + (seeds**2 / (num_seeds - 1) if num_seeds > 1 else 0.0)
    found: Floats = np.divide(variance**2, below, out=np.full_like(below, most), where=below > 0)
    return np.where(below > 0, np.maximum(1.0, found), found)


def _stream(seed: int, domain: str = "") -> np.random.SeedSequence:
    """Of a domain's images by its name, of the seeds without one: what else is compared changes no draw of it."""
    key = int.from_bytes(hashlib.sha256(domain.encode()).digest()[:16], "little") if domain else 0
    return np.random.SeedSequence(seed, spawn_key=(key,))


def _domain(correct: Outcomes, num_draws: int, stream: np.random.SeedSequence) -> _Domain:
    images = correct.shape[2]
    seed_means = correct.mean(axis=2, dtype=np.float64)
    image_means = correct.mean(axis=1, dtype=np.float32)
    centred = image_means - image_means.mean(axis=1, keepdims=True)
    return _Domain(seed_means, DomainProducts(correct), image_draws(centred, num_draws, stream), images)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for being several (Holm 1979): the k-th smallest of m times m - k + 1, never falling, at most 1."""
    raw = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(raw, kind="stable")
    falling = np.arange(len(raw), 0, -1)
    adjusted = np.empty(len(raw))
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, falling * raw[order]))
    return adjusted.tolist()


def rank(bootstrap: PairedBootstrap, domains: Sequence[str], level: float = 0.05) -> Ranking:
    """Compare all pairs of rows on the mean over `domains`."""
    means = bootstrap.means(domains)
    return ranking(means.values, means.pairs(), level)
