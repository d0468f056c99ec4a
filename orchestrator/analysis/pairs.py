"""Which rows of a board differ: t-tests of all pairs of rows, block by block, and ranks from them. No ray, no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from orchestrator.analysis.products import DomainProducts, Floats, blocks
from orchestrator.analysis.step_down import StepDown


class Compared(NamedTuple):
    """Of R rows with O others."""

    ratio: Floats
    """(R, O) |t|; nan where the other is not of lower index, as each pair is there once"""
    freedom: Floats
    """(R, O) degrees of freedom, at least 1"""


class Pairs(NamedTuple):
    """A block of pairs of rows, R with O others of lower index or the same."""

    rows: slice
    others: slice
    tests: Callable[[], Compared]
    """computes them; those of all blocks together would take a gigabyte for 10,000 rows"""


@dataclass(frozen=True)
class Means:
    """Means over some domains of M rows, with what their variances are made of.

    Variances of differences are made of covariances, that is of products of matrices, so that thousands of rows take no longer
    for each pair than a few. `u` is a row minus another one, A a symmetric matrix of covariances: u' A u for all pairs is what
    `_quadratic` makes of the rows' own squares and of their products.
    """

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
        """All pairs."""
        places = blocks(len(self.values))
        for index, rows in enumerate(places):
            for others in places[: index + 1]:
                yield Pairs(rows, others, partial(self._tests, rows, others))

    def _tests(self, rows: slice, others: slice) -> Compared:
        num_seeds = self.seeds.shape[1]
        variance = self._image_draws(rows, others)
        within = [part.of(rows, others) for part in self.products]
        image_part = self._within(rows, others, [of.image_variance for of in within], "image_variance")
        least = max(min(part.num_images for part in self.products) - 1, 1)
        below = image_part**2 / least
        if num_seeds > 1:
            between = self._between(rows, others)
            noise = self._within(rows, others, [of.interaction for of in within], "interaction")
            share = np.divide(np.maximum(0.0, between - noise), between, out=np.zeros_like(between), where=between > 0)
            variance += self._seed_draws(rows, others, np.sqrt(share * num_seeds / (num_seeds - 1)))
            below += (between / num_seeds) ** 2 / (num_seeds - 1)
        freedom = np.divide(variance**2, below, out=np.full_like(below, least), where=below > 0)
        away = abs(self.values[rows, None] - self.values[None, others])
        ratio = np.divide(away, np.sqrt(variance), out=np.where(away > 0, np.inf, 0.0), where=variance > 0)
        if rows == others:
            ratio[np.triu_indices(len(ratio))] = np.nan
        return Compared(ratio, np.maximum(1.0, freedom, out=freedom))

    def _image_draws(self, rows: slice, others: slice) -> Floats:
        """(R, O) variance over the draws of the difference's image part."""
        ours = _centred(self.images[rows])  # of the two factors of a covariance one may stay as it is
        return _variance(self._own_draws[rows], self._own_draws[others], ours @ self.images[others].T / self._count)

    @cached_property
    def _own_draws(self) -> Floats:
        """(M,) variance over the draws of the image part."""
        return np.concatenate([self.images[rows].var(axis=1, ddof=1) for rows in blocks(len(self.values))])

    def _between(self, rows: slice, others: slice) -> Floats:
        """(R, O) variance of the difference over seeds."""
        own = np.einsum("ms,ms->m", self._effects, self._effects)
        squares = _variance(own[rows], own[others], self._effects[rows] @ self._effects[others].T)
        found: Floats = squares / (self.seeds.shape[1] - 1)
        return found

    def _seed_draws(self, rows: slice, others: slice, scale: Floats) -> Floats:
        """(R, O) what the difference's seed part, `scale` times, adds to the variance over the draws.

        The seed part of a draw is the product of a row's effects and how often the draw has the seeds. So its variance, and its
        covariance with the image part, are made of S numbers a row and not of B.
        """
        effects, weighted, crossed = self._effects, self._effects @ self._seed_covariance, self._crossed
        own_seeds, own_crossed = (np.einsum("ms,ms->m", part, effects) for part in (weighted, crossed))
        of_seeds = _variance(own_seeds[rows], own_seeds[others], weighted[rows] @ effects[others].T)
        products = crossed[rows] @ effects[others].T + effects[rows] @ crossed[others].T
        twice: Floats = _quadratic(2 * own_crossed[rows], 2 * own_crossed[others], products)
        return scale * twice + scale**2 * of_seeds

    @cached_property
    def _effects(self) -> Floats:
        """(M, S) of each seed on a row."""
        found: Floats = self.by_seed - self.values[:, None]
        return found

    @cached_property
    def _seed_covariance(self) -> Floats:
        """(S, S) over the draws, of how often they have the seeds, as a share of all."""
        centred = _centred(self.seeds.T) / self.seeds.shape[1]
        found: Floats = centred @ centred.T / self._count
        return found

    @cached_property
    def _crossed(self) -> Floats:
        """(M, S) covariance over the draws of the image part and of how often they have the seeds."""
        found: Floats = self.images @ (_centred(self.seeds.T).T / self.seeds.shape[1]) / self._count
        return found

    @property
    def _count(self) -> int:
        return len(self.seeds) - 1

    def _within(self, rows: slice, others: slice, products: Sequence[Floats], kind: str) -> Floats:
        """(R, O) of differences, over the images, summed over the domains: interaction with the seed, or images' variance."""
        weights = [1 / (part.num_images * len(self.products) ** 2) for part in self.products]
        own: Floats = sum(
            (weight * getattr(part.own, kind) for weight, part in zip(weights, self.products, strict=True)),
            start=np.zeros(len(self.values)),
        )
        return _variance(own[rows], own[others], sum(weight * of for weight, of in zip(weights, products, strict=True)))


def _centred(numbers: Floats) -> Floats:
    found: Floats = numbers - numbers.mean(axis=1, keepdims=True)
    return found


def _variance(own: Floats, other: Floats, products: Floats) -> Floats:
    """Of differences: nothing is below 0, and what rounding leaves of equal rows is 0."""
    found = _quadratic(own, other, products)
    found[found <= 2e-12 * own[:, None]] = 0.0
    return found


def _quadratic(own: Floats, other: Floats, products: Floats) -> Floats:
    """(R, O) u' A u for u = row minus other and a symmetric A, from its diagonal and its products."""
    found: Floats = -2 * products
    found += own[:, None]
    found += other[None, :]
    return found


@dataclass(frozen=True)
class Ranking:
    """Which rows of a board can be told apart, from all pairs of differences with Holm's adjustment over the pairs."""

    intervals: list[tuple[int, int]]
    """(best, worst) rank of each row: 1 + the rows that are surely better, M - the rows that are surely worse"""


def ranking(values: Floats, pairs: Iterable[Pairs], level: float = 0.05) -> Ranking:
    """Rank rows of these (M,) values; `pairs` has every pair once."""
    count = len(values)
    better, worse = np.zeros(count, dtype=int), np.zeros(count, dtype=int)
    step_down = StepDown(count * (count - 1) // 2, level)
    open_pairs = []
    for rows, others, tests in pairs:
        verdict = step_down.take(*tests())
        above = values[rows, None] > values[None, others]
        for found, ahead, behind in (
            (verdict.rejected & above, rows, others),
            ((verdict.rejected & ~above).T, others, rows),
        ):
            worse[ahead] += found.sum(axis=1)
            better[behind] += found.sum(axis=0)
        open_pairs.append((verdict.open[0] + rows.start, verdict.open[1] + others.start, verdict.p_values))
    limit = step_down.limit()
    for row, other, p_values in open_pairs:
        row, other = row[p_values < limit], other[p_values < limit]
        above = values[row] > values[other]
        worse += np.bincount(np.where(above, row, other), minlength=count)
        better += np.bincount(np.where(above, other, row), minlength=count)
    return Ranking([(1 + int(up), count - int(down)) for up, down in zip(better, worse, strict=True)])
