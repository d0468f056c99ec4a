"""Mean products of rows' outcomes on one domain, for pairs of rows: what variances of differences are made of.

All pairs of 10,000 rows would take 800 MB for each quantity, so they are computed for blocks of rows, and only of few rows
kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

Floats = NDArray[np.float64]
Outcomes = NDArray[np.bool_] | NDArray[np.float32]
"""Whether predictors are right about images, or what that contributes where seeds have images of their own (`image_sets`)"""
BLOCK = 1024
"""Rows of a block; of a table of no more than that all products are kept."""


def one_thread() -> AbstractContextManager[object]:
    """A context in which matrices are multiplied by one thread.

    The last digits of a sum in float32 depend on the number of threads, and the same outcomes shall have the same interval
    however many cores there are. It is faster too: threads of a BLAS spin while they wait for the next small matrix.
    """
    found: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
    return found


class Products(NamedTuple):
    """Of R rows with O rows, (R, O) each."""

    interaction: Floats
    """mean products of the interaction of seed and image; zeros for one seed"""
    image_variance: Floats
    """covariance of the means over seeds, over images"""


class DomainProducts:
    """Products of the rows of `correct`, (M, S, N): whether row m with seed s is right on image i. Keeps the array itself."""

    def __init__(self, correct: Outcomes) -> None:
        self.num_rows, self.num_seeds, self.num_images = correct.shape
        self._correct = correct
        self._columns: dict[int, Products] = {}

    def of(self, rows: slice, others: slice) -> Products:
        """Of some rows with others; slices with a start and a stop."""
        if self.num_rows > BLOCK:
            return self._computed(rows, others)
        return Products(*(products[rows, others] for products in self._all))

    def with_row(self, other: int) -> Products:
        """Of all rows with one, (M,) each."""
        if other not in self._columns:
            found = [self.of(rows, slice(other, other + 1)) for rows in blocks(self.num_rows)]
            self._columns[other] = Products(*(np.concatenate(parts)[:, 0] for parts in zip(*found, strict=True)))
        return self._columns[other]

    @cached_property
    def own(self) -> Products:
        """Of each row with itself, (M,) each."""
        found = [self.of(rows, rows) for rows in blocks(self.num_rows)]
        return Products(*(np.concatenate([np.diag(p) for p in parts]) for parts in zip(*found, strict=True)))

    @cached_property
    def _all(self) -> Products:
        everything = slice(0, self.num_rows)
        return self._computed(everything, everything)

    def _computed(self, rows: slice, others: slice) -> Products:
        means = self._image_means(rows)
        other_means = means if rows == others else self._image_means(others)
        ours = _centred(means)
        theirs = ours if rows == others else _centred(other_means)
        image_variance = (ours @ theirs.T).astype(np.float64) / max(self.num_images - 1, 1)
        interaction = np.zeros(image_variance.shape)
        if self.num_seeds > 1 and self.num_images > 1:
            for seed in range(self.num_seeds):
                ours = self._rest(rows, seed, means)
                theirs = ours if rows == others else self._rest(others, seed, other_means)
                interaction += ours @ theirs.T
            interaction /= (self.num_seeds - 1) * (self.num_images - 1)
        return Products(interaction, image_variance)

    def _image_means(self, rows: slice) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self._correct[rows].mean(axis=1, dtype=np.float32)
        return found

    def _rest(self, rows: slice, seed: int, means: NDArray[np.float32]) -> NDArray[np.float32]:
        return _centred(self._correct[rows, seed, :].astype(np.float32, copy=False) - means)


def _centred(values: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = values - values.mean(axis=1, keepdims=True)
    return found


def blocks(num_rows: int) -> list[slice]:
    """Rows in blocks."""
    return [slice(start, min(start + BLOCK, num_rows)) for start in range(0, num_rows, BLOCK)]


def together(rows: Sequence[Outcomes]) -> Outcomes:
    """(R, S, N) of rows of one kind."""
    if rows[0].dtype == np.bool_:
        return np.stack([row.astype(np.bool_, copy=False) for row in rows])
    return np.stack([row.astype(np.float32, copy=False) for row in rows])
