"""Pillow's bicubic resize of an 8-bit RGB image, compiled by numba: the same pixels, bit for bit, several times as fast.

Pillow filters rows first and columns second, with weights rounded to 22 bits and the result of each pass rounded to
8 bits (src/libImaging/Resample.c, unchanged since Pillow 3.4). Here the first pass works on the image with its columns
stored one after the other: then each output column is a weighted sum of whole input columns, which vectorises. Importing
this module compiles it (seconds); `datasets.resample` imports it when that pays and checks that its pixels are Pillow's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import boolean, float64, int32, int64, njit, types, uint8, uint32, void

Function = TypeVar("Function", bound=Callable[..., Any])

PRECISION = 22
_HALF = 1 << (PRECISION - 1)
_BYTES = types.Array(uint8, 2, "C", readonly=True)
_OUT = types.Array(uint8, 2, "C")
_STARTS = types.Array(int64, 1, "C")
_WEIGHTS = types.Array(int32, 2, "C")
_TAPS: Any = types.Tuple([_STARTS, _WEIGHTS])  # type: ignore[no-untyped-call]
_WORDS = types.Array(uint32, 2, "C", readonly=True)
_PIXELS: Any = types.UniTuple(uint32, 4)(uint32, uint32, uint32)  # type: ignore[no-untyped-call]
_SPAN: Any = types.UniTuple(int64, 2)  # type: ignore[no-untyped-call]


def _compiled(*signature: Any) -> Callable[[Function], Function]:
    """Compile now, for these types; threads may run it at the same time. No fast-math: Pillow's order of operations."""
    compiler: Callable[[Function], Function] = njit(*signature, nogil=True)
    return compiler


@_compiled(float64(float64))
def _bicubic(x: float) -> float:
    """The kernel at distance `x` (Keys, a = -0.5). Both pieces are computed, so that loops over it vectorise."""
    a = -0.5
    x = abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return near if x < 1.0 else (far if x < 2.0 else 0.0)


@_compiled(_TAPS(int64, float64, float64, int64, boolean))
def _taps(length: int, low: float, high: float, size: int, mirror: bool) -> tuple[Any, Any]:
    """For each of `size` outputs: its first input (size,) and the weights of that and the following ones (K, size).

    Weights beyond those of Pillow are 0; no input lies beyond `length`, which is at least 4. Loops go over the outputs of
    one tap: so they vectorise, while each sum is made in Pillow's order.
    """
    low, high = float64(np.float32(low)), float64(np.float32(high))  # Pillow keeps a box in single precision
    scale = float64(np.float32(high - low)) / size
    stretch = max(scale, 1.0)
    support, shrink = 2.0 * stretch, 1.0 / stretch
    count = 4 if scale <= 1.0 else min(int(2.0 * support) + 1, length)
    starts, weights = np.empty(size, np.int64), np.empty((count, size), np.int32)
    shares, totals = np.empty((count, size)), np.zeros(size)
    for tap in range(count):
        for place in range(size):
            center: Any = low + (place + 0.5) * scale
            first = max(int32(center - support + 0.5), int32(0))
            end = min(int32(center + support + 0.5), int32(length))
            place_in = min(first, int32(length - count)) + int32(tap)
            value = _bicubic((place_in - center + 0.5) * shrink)
            share = value if first <= place_in < end else 0.0
            shares[tap, place] = share
            totals[place] += share
    for tap in range(count):
        for place in range(size):
            total = totals[place]
            share = shares[tap, place] / total if total != 0.0 else shares[tap, place]
            weights[tap, place] = int32(share * (1 << PRECISION) + (0.5 if share >= 0.0 else -0.5))
    for place in range(size):
        middle: Any = low + (place + 0.5) * scale
        starts[place] = min(max(int64(middle - support + 0.5), 0), length - count)
    if mirror:
        return starts[::-1].copy(), weights[:, ::-1].copy()
    return starts, weights


_COMBINE = void(_BYTES, int64, int64, _STARTS, _WEIGHTS, _OUT)


@_compiled(_COMBINE)
def _combine4(lines: Any, begin: int, width: int, starts: Any, weights: Any, out: Any) -> None:
    """`_combine` for sums of 4 lines, that is to enlarge. Written out, so that sums stay in registers."""
    end = begin + width
    for output in range(starts.shape[0]):
        first, to = starts[output], out[output]
        a, b = lines[first, begin:end], lines[first + 1, begin:end]
        c, d = lines[first + 2, begin:end], lines[first + 3, begin:end]
        w0, w1, w2, w3 = weights[0, output], weights[1, output], weights[2, output], weights[3, output]
        for i in range(width):
            total = int32(_HALF + a[i] * w0 + b[i] * w1 + c[i] * w2 + d[i] * w3)
            to[i] = min(max(total >> PRECISION, 0), 255)


@_compiled(_COMBINE)
def _combine5(lines: Any, begin: int, width: int, starts: Any, weights: Any, out: Any) -> None:
    """`_combine` for sums of 5 lines, that is to reduce by up to a quarter."""
    end = begin + width
    for output in range(starts.shape[0]):
        first, to = starts[output], out[output]
        a, b = lines[first, begin:end], lines[first + 1, begin:end]
        c, d, e = lines[first + 2, begin:end], lines[first + 3, begin:end], lines[first + 4, begin:end]
        w0, w1, w2, w3 = weights[0, output], weights[1, output], weights[2, output], weights[3, output]
        w4 = weights[4, output]
        for i in range(width):
            total = int32(_HALF + a[i] * w0 + b[i] * w1 + c[i] * w2 + d[i] * w3 + e[i] * w4)
            to[i] = min(max(total >> PRECISION, 0), 255)


@_compiled(_COMBINE)
def _combine(lines: Any, begin: int, width: int, starts: Any, weights: Any, out: Any) -> None:
    """out[o, :width] = the weighted sum of lines starts[o]..., bytes begin to begin + width, rounded and clipped."""
    if weights.shape[0] == 4:
        return _combine4(lines, begin, width, starts, weights, out)
    if weights.shape[0] == 5:
        return _combine5(lines, begin, width, starts, weights, out)
    for output in range(starts.shape[0]):
        to, sums = out[output], np.full(width, _HALF, np.int32)
        for tap in range(weights.shape[0]):
            line, weight = lines[starts[output] + tap, begin : begin + width], weights[tap, output]
            for i in range(width):
                sums[i] = int32(sums[i] + line[i] * weight)
        for i in range(width):
            to[i] = min(max(sums[i] >> PRECISION, 0), 255)
    return None


@_compiled(int64(int64))
def _up4(count: int) -> int:
    """The next multiple of 4."""
    return (count + 3) // 4 * 4


@_compiled(_PIXELS)
def _pixels(a: int, b: int, c: int) -> Any:
    """The four pixels, 24 bits each, in 12 bytes."""
    low, high = uint32(0xFFFF), uint32(0xFF)
    return (
        a & uint32(0xFFFFFF),
        a >> uint32(24) | (b & low) << uint32(8),
        b >> uint32(16) | (c & high) << uint32(16),
        c >> uint32(8),
    )


@_compiled(void(_WORDS, int64, int64, int64, int64, types.Array(uint32, 2, "C")))
def _transpose4(image: Any, first: int, count: int, begin: int, width: int, out: Any) -> None:
    """`_transpose` of 4 x 4 pixels at a time, 12 bytes being 3 words in little-endian order; ends one block later."""
    for row in range(count // 4):
        lines = image[first + 4 * row : first + 4 * row + 4]
        for block in range((width + 3) // 4):
            q = 3 * (begin // 4 + block)
            a = _pixels(lines[0, q], lines[0, q + 1], lines[0, q + 2])
            b = _pixels(lines[1, q], lines[1, q + 1], lines[1, q + 2])
            c = _pixels(lines[2, q], lines[2, q + 1], lines[2, q + 2])
            d = _pixels(lines[3, q], lines[3, q + 1], lines[3, q + 2])
            for i in range(4):
                to = out[4 * block + i]
                to[3 * row] = a[i] | b[i] << uint32(24)
                to[3 * row + 1] = b[i] >> uint32(8) | c[i] << uint32(16)
                to[3 * row + 2] = c[i] >> uint32(16) | d[i] << uint32(8)


@_compiled(void(_BYTES, int64, int64, int64, int64, _OUT))
def _transpose(image: Any, first: int, count: int, begin: int, width: int, out: Any) -> None:
    """Pixels `begin` to `begin + width` of lines `first` to `first + count` become lines of `out` (>= width, 3 count).

    Sooner where all of that and the lengths of lines are multiples of 4 and `out` has lines for whole blocks.
    """
    even = count % 4 == begin % 4 == image.shape[1] % 12 == out.shape[1] % 4 == image.ctypes.data % 4 == 0
    if even and out.shape[0] >= _up4(width):
        return _transpose4(image.view(np.uint32), first, count, begin, width, out.view(np.uint32))
    for tile in range(0, width, 16):  # so that what is written stays in the cache
        for row in range(count):
            line = image[first + row]
            for place in range(tile, min(tile + 16, width)):
                out[place, 3 * row] = line[3 * (begin + place)]
                out[place, 3 * row + 1] = line[3 * (begin + place) + 1]
                out[place, 3 * row + 2] = line[3 * (begin + place) + 2]
    return None


@_compiled(_SPAN(_STARTS, _WEIGHTS))
def _span(starts: Any, weights: Any) -> tuple[int, int]:
    """(first, count) of the inputs that any output needs."""
    first = min(starts[0], starts[-1])
    return first, max(starts[0], starts[-1]) + weights.shape[0] - first


@_compiled(void(_BYTES, boolean, boolean, float64, float64, float64, float64, boolean, _OUT))
def resize(
    image: Any,
    by_columns: bool,
    vertical_first: bool,
    left: float,
    top: float,
    right: float,
    bottom: float,
    mirror: bool,
    out: Any,
) -> None:
    """Resize the box of `image` to fill `out` (S, 3 S), mirrored or not.

    `image` is (H, 3 W), row after row, or with `by_columns` (W, 3 H), column after column; H and W are at least 4.
    `vertical_first` says which pass Pillow makes first. A pass combines whole lines, so lines are turned where needed.
    """
    size = out.shape[0]
    height, width = image.shape[0], image.shape[1] // 3
    if by_columns:
        width, height = height, width
    x_starts, x_weights = _taps(width, left, right, size, mirror)
    y_starts, y_weights = _taps(height, top, bottom, size, False)
    if vertical_first:
        starts, weights, then_starts, then_weights = y_starts, y_weights, x_starts, x_weights
    else:
        starts, weights, then_starts, then_weights = x_starts, x_weights, y_starts, y_weights
    first, count = _span(starts, weights)
    begin, across = _span(then_starts, then_weights)
    if by_columns == vertical_first:  # what is turned, in whole blocks of 4 if possible
        lines_in = image.shape[0]
        count, first = count + first % 4, first - first % 4
        if _up4(across) <= lines_in:
            across = _up4(across)
            begin = min(begin, lines_in - across)
    then_starts -= begin
    once = np.empty((size, 3 * _up4(across)), np.uint8)
    if by_columns == vertical_first:
        turned = np.empty((_up4(count), 3 * across), np.uint8)
        _transpose(image, begin, across, first, count, turned)
        starts -= first
        _combine(turned, 0, 3 * across, starts, weights, once)
    else:
        _combine(image, 3 * begin, 3 * across, starts, weights, once)
    lines = np.empty((_up4(across), 3 * size), np.uint8)
    _transpose(once, 0, size, 0, across, lines)
    if vertical_first:
        columns = np.empty((size, 3 * _up4(size)), np.uint8)
        _combine(lines, 0, 3 * size, then_starts, then_weights, columns)
        _transpose(columns, 0, size, 0, size, out)
    else:
        _combine(lines, 0, 3 * size, then_starts, then_weights, out)
