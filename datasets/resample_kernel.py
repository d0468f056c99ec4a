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
from numba import boolean, float64, int32, int64, njit, types, uint8, void

from datasets.resample_vectors import LOW, PRECISION, WIDTH, turning, weighing

Function = TypeVar("Function", bound=Callable[..., Any])

_HALF = 1 << (PRECISION - 1)
_BELOW = int32((1 << LOW) - 1)
_BYTES = types.Array(uint8, 2, "C", readonly=True)
_OUT = types.Array(uint8, 2, "C")
_STARTS = types.Array(int64, 1, "C")
_WEIGHTS = types.Array(int32, 2, "C")
_TAPS: Any = types.Tuple([_STARTS, _WEIGHTS])
_SPAN: Any = types.UniTuple(int64, 2)


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
_weigh4, _weigh6, _turn, _turn_edge = weighing(2), weighing(3), turning(16), turning(12)


@_compiled(int32(int32, int32))
def _two(first: int, second: int) -> Any:
    """Two numbers of 16 bits in one of 32."""
    return int32(first & int32(0xFFFF) | second << int32(16))


@_compiled(_COMBINE)
def _combine4(lines: Any, begin: int, width: int, starts: Any, weights: Any, out: Any) -> None:
    """`_combine` for sums of 4 lines, that is to enlarge; `width` is at least `WIDTH`, as for the next."""
    stride, last = lines.shape[1], width - WIDTH
    for output in range(starts.shape[0]):
        a, to = lines.ctypes.data + begin + starts[output] * stride, out.ctypes.data + output * out.shape[1]
        b, c, d = a + stride, a + 2 * stride, a + 3 * stride
        w0, w1, w2, w3 = weights[0, output], weights[1, output], weights[2, output], weights[3, output]
        high = _two(w0 >> LOW, w1 >> LOW), _two(w2 >> LOW, w3 >> LOW)
        low = _two(w0 & _BELOW, w1 & _BELOW), _two(w2 & _BELOW, w3 & _BELOW)
        for i in range(0, last, WIDTH):
            _weigh4(to + i, (a + i, b + i, c + i, d + i), high, low)
        _weigh4(to + last, (a + last, b + last, c + last, d + last), high, low)


@_compiled(_COMBINE)
def _combine6(lines: Any, begin: int, width: int, starts: Any, weights: Any, out: Any) -> None:
    """`_combine` for sums of 5 or 6 lines, that is to reduce by up to a third; a sixth that is none weighs nothing."""
    stride, last, six = lines.shape[1], width - WIDTH, int64(weights.shape[0] == 6)
    for output in range(starts.shape[0]):
        a, to = lines.ctypes.data + begin + starts[output] * stride, out.ctypes.data + output * out.shape[1]
        b, c, d, e, f = a + stride, a + 2 * stride, a + 3 * stride, a + 4 * stride, a + (4 + six) * stride
        w0, w1, w2, w3 = weights[0, output], weights[1, output], weights[2, output], weights[3, output]
        w4, w5 = weights[4, output], weights[4 + six, output] * int32(six)
        high = _two(w0 >> LOW, w1 >> LOW), _two(w2 >> LOW, w3 >> LOW), _two(w4 >> LOW, w5 >> LOW)
        low = _two(w0 & _BELOW, w1 & _BELOW), _two(w2 & _BELOW, w3 & _BELOW), _two(w4 & _BELOW, w5 & _BELOW)
        for i in range(0, last, WIDTH):
            _weigh6(to + i, (a + i, b + i, c + i, d + i, e + i, f + i), high, low)
        _weigh6(to + last, (a + last, b + last, c + last, d + last, e + last, f + last), high, low)


@_compiled(_COMBINE)
def _combine(lines: Any, begin: int, width: int, starts: Any, weights: Any, out: Any) -> None:
    """out[o, :width] = the weighted sum of lines starts[o]..., bytes begin to begin + width, rounded and clipped."""
    if weights.shape[0] == 4 and width >= WIDTH:
        return _combine4(lines, begin, width, starts, weights, out)
    if 5 <= weights.shape[0] <= 6 and width >= WIDTH:
        return _combine6(lines, begin, width, starts, weights, out)
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


@_compiled(void(_BYTES, int64, int64, int64, int64, _OUT))
def _transpose(image: Any, first: int, count: int, begin: int, width: int, out: Any) -> None:
    """Pixels `begin` to `begin + width` of lines `first` to `first + count` become lines of `out` (>= width, 3 count).

    Sooner where `count` is a multiple of 4, and both `image` and `out` have room for one of `width`.
    """
    whole = _up4(width)
    if count % 4 == 0 and 3 * (begin + whole) <= image.shape[1] and whole <= out.shape[0]:
        line, to_line = image.shape[1], out.shape[1]
        for block in range(0, whole, 4):
            source, to = image.ctypes.data + first * line + 3 * (begin + block), out.ctypes.data + block * to_line
            inside = count - 4 if block + 4 < whole else 0  # reads and writes of 16 bytes stay within both arrays
            for row in range(0, inside, 4):
                _turn(source + row * line, line, to + 3 * row, to_line)
            for row in range(inside, count, 4):
                _turn_edge(source + row * line, line, to + 3 * row, to_line)
        return
    for tile in range(0, width, 16):  # so that what is written stays in the cache
        for row in range(count):
            line_in = image[first + row]
            for place in range(tile, min(tile + 16, width)):
                out[place, 3 * row] = line_in[3 * (begin + place)]
                out[place, 3 * row + 1] = line_in[3 * (begin + place) + 1]
                out[place, 3 * row + 2] = line_in[3 * (begin + place) + 2]


@_compiled(_SPAN(_STARTS, _WEIGHTS))
def _span(starts: Any, weights: Any) -> tuple[int, int]:
    """(first, count) of the inputs that any output needs."""
    first = min(starts[0], starts[-1])
    return first, max(starts[0], starts[-1]) + weights.shape[0] - first


@_compiled(_SPAN(int64, int64, int64))
def _whole(first: int, count: int, length: int) -> tuple[int, int]:
    """A span of a multiple of 4 around this one, if any lies within `length`."""
    whole = _up4(count)
    return (min(first, length - whole), whole) if whole <= length else (first, count)


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
        first, count = _whole(first, count, image.shape[1] // 3)
        begin, across = _whole(begin, across, image.shape[0])
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
