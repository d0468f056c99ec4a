"""p-values of the differences between all pairs of rows, block by block. No ray, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from orchestrator.analysis.products import DomainProducts, Floats, blocks


class Pairs(NamedTuple):
    """A block of pairs of rows, R with O others of lower index or the same."""

    rows: slice
    others: slice
    p_values: Floats
    """(R, O) two-sided; 1 where the other is not of lower index, as each pair is there once"""


@dataclass(frozen=True)
class Means:
    """Means over some domains of M rows, with what their variances are made of."""

    products: Sequence[DomainProducts]
    """of each domain"""
    by_seed: Floats
    """(M, S)"""
    images: Floats
    """(M, B) image part of the draws"""
    seeds: Floats
    """(B, S) how often a draw has each seed, minus once"""

    @cached_property
    def values(self) -> Floats:
        """(M,) means over seeds too."""
        found: Floats = self.by_seed.mean(axis=1)
        return found

    def pairs(self) -> Iterator[Pairs]:
        """All pairs; a variance of a difference is made of covariances, so thousands take no longer than a few."""
        places = blocks(len(self.values))
        for index, rows in enumerate(places):
            for others in places[: index + 1]:
                found = self._p_values(rows, others)
                if others == rows:
                    found[np.triu_indices(len(found))] = 1.0
                yield Pairs(rows, others, found)

    @cached_property
    def _centred(self) -> Floats:
        found: Floats = self.by_seed - self.values[:, None]
        return found

    def _draws(self, rows: slice) -> tuple[Floats, Floats]:
        """(R, B) image part and seed part, around their means over the draws."""
        images, seeds = self.images[rows], self._centred[rows] @ self.seeds.T / self.seeds.shape[1]
        return images - images.mean(axis=1, keepdims=True), seeds - seeds.mean(axis=1, keepdims=True)

    @cached_property
    def _own(self) -> Floats:
        """(4, M) variances of the draws' image part and seed part, their covariance, and the squares over seeds."""
        found = []
        for rows in blocks(len(self.values)):
            images, seeds = self._draws(rows)
            pairs = ((images, images), (seeds, seeds), (images, seeds))
            sums = [np.einsum("mb,mb->m", a, b) / (len(self.seeds) - 1) for a, b in pairs]
            found.append([*sums, np.einsum("ms,ms->m", self._centred[rows], self._centred[rows])])
        return np.concatenate(found, axis=1)

    def _p_values(self, rows: slice, others: slice) -> Floats:
        num_seeds, share = self.seeds.shape[1], 1 / len(self.products)
        images, seeds = self._draws(rows)
        other_images, other_seeds = self._draws(others)
        count, ours, theirs = len(self.seeds) - 1, self._own[:, rows], self._own[:, others]
        of_images = _variance(ours[0], theirs[0], images @ other_images.T / count)
        of_seeds = _variance(ours[1], theirs[1], seeds @ other_seeds.T / count)
        crossed = _quadratic(2 * ours[2], 2 * theirs[2], (images @ other_seeds.T + seeds @ other_images.T) / count)
        squares = _variance(ours[3], theirs[3], self._centred[rows] @ self._centred[others].T)
        between = squares / max(num_seeds - 1, 1)
        noise, image_part = (share**2 * part for part in self._within(rows, others))
        ratio = np.divide(np.maximum(0.0, between - noise), between, out=np.zeros_like(between), where=between > 0)
        scale = np.sqrt(ratio * num_seeds / max(num_seeds - 1, 1))
        variance = of_images + scale * crossed + scale**2 * of_seeds
        least = max(min(part.num_images for part in self.products) - 1, 1)
        below = image_part**2 / least + (between / num_seeds) ** 2 / max(num_seeds - 1, 1)
        freedom = np.maximum(1.0, np.divide(variance**2, below, out=np.full_like(below, least), where=below > 0))
        away = abs(self.values[rows, None] - self.values[None, others])
        ratio = np.divide(away, np.sqrt(variance), out=np.full_like(below, np.inf), where=variance > 0)
        return np.where(away == 0, 1.0, 2 * stats.t.sf(ratio, freedom))

    def _within(self, rows: slice, others: slice) -> tuple[Floats, Floats]:
        """(R, O) of differences, over the images, summed over the domains: interaction with the seed, and images' variance."""
        sums = []
        for kind in range(2):
            parts = [
                (part.own[kind] / part.num_images, part.of(rows, others)[kind] / part.num_images)
                for part in self.products
            ]
            own = sum((own for own, _ in parts), start=np.zeros(len(self.values)))
            products = sum((of_pairs for _, of_pairs in parts), start=np.zeros(parts[0][1].shape))
            sums.append(_variance(own[rows], own[others], products))
        return sums[0], sums[1]


def _variance(own: Floats, other: Floats, products: Floats) -> Floats:
    """Of differences: nothing is below 0, and what rounding leaves of equal rows is 0."""
    found = _quadratic(own, other, products)
    return np.where(found > 1e-12 * (own[:, None] + other[None, :]), found, 0.0)


def _quadratic(own: Floats, other: Floats, products: Floats) -> Floats:
    """(R, O) u' A u for u = row minus other and a symmetric A, from its diagonal and its products."""
    found: Floats = own[:, None] + other[None, :] - 2 * products
    return found


@dataclass(frozen=True)
class Ranking:
    """Which rows of a board can be told apart, from all pairs of differences with Holm's adjustment over the pairs."""

    intervals: list[tuple[int, int]]
    """(best, worst) rank of each row: 1 + the rows that are surely better, M - the rows that are surely worse"""
    tied_with_best: list[bool]
    """whether each row cannot be told from the row of the highest value; that row itself is"""


def ranking(values: Floats, pairs: Sequence[Pairs], level: float = 0.05) -> Ranking:
    """Rank rows of these (M,) values; `pairs` has every pair once."""
    count, best = len(values), int(values.argmax())
    limit = holm_limit(
        np.concatenate([of.p_values[of.p_values < level] for of in pairs]), count * (count - 1) // 2, level
    )
    better, worse = np.zeros(count, dtype=int), np.zeros(count, dtype=int)
    tied = np.ones(count, dtype=bool)
    for rows, others, p_values in pairs:
        sure = p_values < limit
        above = sure & (values[rows, None] > values[None, others])
        below = sure & (values[rows, None] < values[None, others])
        worse[rows] += above.sum(axis=1)
        better[others] += above.sum(axis=0)
        better[rows] += below.sum(axis=1)
        worse[others] += below.sum(axis=0)
        if rows.start <= best < rows.stop:
            tied[others] &= ~sure[best - rows.start]
        if others.start <= best < others.stop:
            tied[rows] &= ~sure[:, best - others.start]
    return Ranking([(1 + int(up), count - int(down)) for up, down in zip(better, worse, strict=True)], tied.tolist())


def holm_limit(low: NDArray[np.float64], num_tests: int, level: float) -> float:
    """Those of `num_tests` p-values are below `level` after Holm's adjustment that are below this; `low`: all below `level`."""
    ordered = np.sort(low)
    failing = np.flatnonzero(ordered * (num_tests - np.arange(len(ordered))) >= level)
    return float(ordered[failing[0]]) if len(failing) else level
