"""Resampled images: how often each draw of a bootstrap has each image of a domain. No ray, no torch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)
CHUNK_BYTES = 64 * 2**20
"""of image counts and of draws that are in memory at a time"""
KEPT_BYTES, KEPT_DOMAINS = 8 * 2**20, 16
"""Image counts of so many domains of at most this size are kept, for a board has many tables of the same domains."""


def image_draws(centred: NDArray[np.float32], num_draws: int, stream: np.random.SeedSequence) -> NDArray[np.float64]:
    """(M, B) sums over resampled images, over N, of `centred`, (M, N); the same draws for the same `stream`."""
    rows, images = centred.shape
    draws = np.empty((rows, num_draws))
    step = max(1, CHUNK_BYTES // (4 * images))
    place = 0
    for counts in _image_counts(images, num_draws, stream, step):
        draws[:, place : place + len(counts)] = centred @ counts.T / images
        place += len(counts)
    return draws


def _image_counts(
    images: int, num_draws: int, stream: np.random.SeedSequence, step: int
) -> Iterator[NDArray[np.float32]]:
    """(at most `step`, N) how often each draw has each image."""
    if images * num_draws <= KEPT_BYTES:
        kept = _kept_counts(images, num_draws, stream.entropy, stream.spawn_key)
        for start in range(0, num_draws, step):
            yield kept[start : start + step].astype(np.float32)
        return
    rng = np.random.default_rng(stream)
    for start in range(0, num_draws, step):
        yield _counts(images, min(step, num_draws - start), rng, np.float32)


@lru_cache(maxsize=KEPT_DOMAINS)
def _kept_counts(images: int, num_draws: int, entropy: Any, spawn_key: tuple[int, ...]) -> NDArray[np.uint8]:
    """A byte is enough: that a draw has an image 256 times has a chance below 1e-500."""
    stream = np.random.SeedSequence(entropy, spawn_key=spawn_key)
    return _counts(images, num_draws, np.random.default_rng(stream), np.uint8)


def _counts(images: int, num_draws: int, rng: np.random.Generator, kind: type[Number]) -> NDArray[Number]:
    counts = np.empty((num_draws, images), dtype=kind)
    for place in range(num_draws):
        counts[place] = np.bincount(rng.integers(images, size=images, dtype=np.int32), minlength=images)
    return counts
