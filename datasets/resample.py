"""Resizing as Pillow does it: bicubic, antialiased where it reduces, rounded to 8 bits.

Pillow is the definition. `datasets.resample_kernel` computes the same pixels in a fraction of the time, but costs seconds
to compile, in every process. So it is compiled once a process has resized `COMPILE_AFTER` images, and used only if it then
agrees with Pillow, whose order of passes has changed between releases, on `_PROBES`. Until then, if not, and where it cannot
be compiled, Pillow works: which of both did is of no consequence, and so no part of a trial's identity.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import PIL
from PIL import Image

from datasets.decoding import Decoded, Pixels

log = logging.getLogger(__name__)

COMPILE_AFTER = 4000
"""Resized images (about 2 s of Pillow's time at 224 pixels) after which the kernel is compiled, which takes as long."""

Box = tuple[float, float, float, float]
_Rule = Callable[[int, int, int], bool]
_PROBES = ((60, 40, 32), (40, 60, 32), (24, 60, 32), (64, 70, 64), (41, 44, 40), (300, 200, 32), (200, 300, 32))
"""(width, height, size)"""


def by_columns(array: Pixels) -> bool:
    """Whether an (H, W, 3) array lies in memory column after column, pixel after pixel."""
    return array.strides == (3, 3 * array.shape[0], 1)


def resize(image: Decoded, size: int, box: Box, mirror: bool, out: Pixels) -> None:
    """Fill `out` (size, size, 3), contiguous, with the box (left, top, right, bottom) of the image, mirrored or not."""
    kernel = _KERNEL.get()
    if kernel is not None and isinstance(image, np.ndarray) and min(image.shape[:2]) >= 4:
        kernel(image, size, box, mirror, out)
        return
    if isinstance(image, np.ndarray):
        image = Image.fromarray(np.ascontiguousarray(image))
    pixels = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))
    np.copyto(out, pixels[:, ::-1] if mirror else pixels)


def compile_now() -> bool:
    """Compile the kernel if that has not been tried; whether it is in use."""
    return _KERNEL.build() is not None


_Resize = Callable[[Pixels, int, Box, bool, Pixels], None]


class _Kernel:
    """Counts what is resized, and compiles once."""

    def __init__(self) -> None:
        self._count = 0
        self._lock = threading.Lock()
        self._tried = False
        self._made: _Resize | None = None

    def get(self) -> _Resize | None:
        if self._tried:
            return self._made
        self._count += 1
        if self._count > COMPILE_AFTER and self._lock.acquire(blocking=False):
            # Other threads go on with Pillow meanwhile.
            self._lock.release()
            return self.build()
        return None

    def build(self) -> _Resize | None:
        with self._lock:
            if not self._tried:
                self._made = _compiled()
                self._tried = True
            return self._made


_KERNEL = _Kernel()


def _compiled() -> _Resize | None:
    """The kernel if it can be had and agrees with Pillow; else None, and a line in the log."""
    try:
        from datasets import resample_kernel

        for rule in (_tall_first, _never_first):
            made = _with(resample_kernel.resize, rule)
            if all(_agrees(made, *probe) for probe in _PROBES):
                return made
    except Exception as error:  # numba and LLVM raise what they like, and no trial needs them
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        log.warning("the fast resize cannot be compiled (%.300s): Pillow is used itself, which is slower", reason)
        return None
    log.warning("Pillow %s resizes in a way unknown here: it is used itself, which is slower", PIL.__version__)
    return None


def _tall_first(width: int, height: int, size: int) -> bool:
    """Pillow 13 makes the vertical pass first if that leaves fewer pixels; found by comparing results of all shapes."""
    return height > size and height - size > 2 * (width - size)


def _never_first(width: int, height: int, size: int) -> bool:
    """Earlier releases make the horizontal pass first (ImagingResampleInner, python-pillow/Pillow@01f132fb086a)."""
    return False


def _with(compiled: Any, vertical_first: _Rule) -> _Resize:
    def run(image: Pixels, size: int, box: Box, mirror: bool, out: Pixels) -> None:
        height, width = image.shape[:2]
        if columns := by_columns(image):
            lines = image.transpose(1, 0, 2).reshape(width, 3 * height)
        else:
            lines = np.ascontiguousarray(image).reshape(height, 3 * width)
        first = vertical_first(width, height, size)
        compiled(lines, columns, first, *map(float, box), mirror, out.reshape(size, 3 * size))

    return run


def _agrees(made: _Resize, width: int, height: int, size: int) -> bool:
    noise = np.random.Generator(np.random.PCG64(width)).integers(0, 256, (height, width, 3), dtype=np.uint8)
    out = np.empty((size, size, 3), np.uint8)
    columns = np.ascontiguousarray(noise.transpose(1, 0, 2)).transpose(1, 0, 2)
    for box in ((0, 0, width, height), (1.5, 0, width - 0.5, height - 3), (3, 2, width - 2, height)):
        expected = np.asarray(Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC, box=box))
        for image in (noise, columns):
            made(image, size, box, False, out)
            if not np.array_equal(out, expected):
                return False
    return True
