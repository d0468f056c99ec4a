"""Weighted sums in whole registers are those of plain arithmetic, on every kind of processor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import int32, njit, types, uint8

from datasets.resample_vectors import _X86, LOW, PRECISION, WIDTH, turning, weighing

KINDS = [(16, False), *((width, True) for width in (16, 32, 64) if _X86 and width <= WIDTH)]
BYTES = types.Array(uint8, 2, "C")


def compiled_sum(pairs: int, width: int, x86: bool) -> Callable[..., None]:
    weigh, numbers = weighing(pairs, width, x86), types.UniTuple(int32, pairs)

    if pairs == 2:

        def run(lines: Any, high: Any, low: Any, out: Any) -> None:
            a, step = lines.ctypes.data, lines.shape[1]
            weigh(out.ctypes.data, (a, a + step, a + 2 * step, a + 3 * step), high, low)
    else:

        def run(lines: Any, high: Any, low: Any, out: Any) -> None:
            a, step = lines.ctypes.data, lines.shape[1]
            six = (a, a + step, a + 2 * step, a + 3 * step, a + 4 * step, a + 5 * step)
            weigh(out.ctypes.data, six, high, low)

    made: Callable[..., None] = njit(types.void(BYTES, numbers, numbers, BYTES))(run)
    return made


@pytest.mark.parametrize(("width", "x86"), KINDS)
@pytest.mark.parametrize("pairs", [2, 3])
def test_sums_are_rounded_and_clipped_exactly(pairs: int, width: int, x86: bool) -> None:
    run = compiled_sum(pairs, width, x86)
    rng = np.random.default_rng(pairs)
    one = 1 << PRECISION
    for number in range(200):
        lines = rng.integers(0, 256, (2 * pairs, width), dtype=np.uint8)
        weights = rng.integers(-one // 8, one // 3, 2 * pairs)  # sums of less than 512 levels, as a filter's are
        weights[0] += one - weights.sum() if number % 2 else 0
        weights = np.clip(weights, -one, one)
        expected = np.clip((weights @ lines.astype(np.int64) + one // 2) >> PRECISION, 0, 255)
        high, low = weights >> LOW, weights & ((1 << LOW) - 1)
        packed = [tuple(int(x) for x in ((w[::2] & 0xFFFF) | (w[1::2] << 16)).astype(np.int32)) for w in (high, low)]
        out = np.zeros((1, width), np.uint8)
        run(lines, *packed, out)
        assert np.array_equal(out[0], expected), number


@pytest.mark.parametrize("read", [12, 16])
def test_a_block_of_pixels_is_turned_and_nothing_else_is_written(read: int) -> None:
    turn = turning(read)

    @njit(types.void(BYTES, BYTES))
    def run(image: Any, out: Any) -> None:
        turn(image.ctypes.data, image.shape[1], out.ctypes.data, out.shape[1])

    image = np.random.default_rng(0).integers(0, 256, (4, 20), dtype=np.uint8)
    out = np.zeros((4, 24), np.uint8)
    run(image, out)
    expected = image[:, :12].reshape(4, 4, 3).transpose(1, 0, 2).reshape(4, 12)
    assert np.array_equal(out[:, :12], expected)
    assert not out[:, read:].any()
