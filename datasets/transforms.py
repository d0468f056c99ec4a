"""From a decoded image to the (S, S, 3) uint8 array a model takes: named evaluation crops and the training crop.

Resizing is Pillow's bicubic, which filters when it shrinks. The paper's pipeline (TensorFlow) does not filter and keeps
the overshoot of the bicubic kernel; here values are rounded and clipped to uint8.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np

from datasets.decoding import Decoded, Pixels, decode
from datasets.resample import resize

__all__ = ["Decoded", "EvalTransform", "FinishedTransform", "Pixels", "TrainTransform", "decode"]


@dataclass(frozen=True, slots=True)
class EvalTransform:
    """Deterministic preprocessing.

    'lipsum': central square of 224/256 of the short side, resized to `size` (cs-giung/lipsum-ft@1331873d21a4
    src/input_pipeline.py). 'openai': short side to `size`, then the central square (openai/CLIP). The zoom of the first
    moves ImageNet-A by about +2 points and -R, -Sketch by -1.5: never mix them in one table.
    """

    preprocessing: str
    size: int

    def __call__(self, image: Decoded, out: Pixels | None = None) -> Pixels:
        """(size, size, 3) uint8, written to `out` if given."""
        width, height = _size(image)
        short = min(width, height)
        side = short * 224 / 256 if self.preprocessing == "lipsum" else short
        left, top = (width - side) / 2, (height - side) / 2
        return _filled(image, self.size, (left, top, left + side, top + side), False, out)


@dataclass(frozen=True, slots=True)
class FinishedTransform:
    """For images that are what `EvalTransform` makes already, as the pixel cache keeps them."""

    size: int

    def __call__(self, image: Decoded, out: Pixels | None = None) -> Pixels:
        """A copy, (size, size, 3) uint8, written to `out` if given."""
        out = np.empty((self.size, self.size, 3), np.uint8) if out is None else out
        np.copyto(out, np.asarray(image))
        return out


@dataclass(frozen=True, slots=True)
class TrainTransform:
    """Inception's random crop, then a mirror image with probability 0.5.

    The height of the crop is uniform between those of the smallest and largest area at an aspect ratio that is uniform in
    [3/4, 4/3]; up to 10 attempts, then the whole image: the rule of TensorFlow's sample_distorted_bounding_box, which
    the paper uses.
    """

    size: int
    scale: tuple[float, float]
    flip: bool

    def __call__(self, image: Decoded, rng: random.Random, out: Pixels | None = None) -> Pixels:
        """(size, size, 3) uint8, written to `out` if given; `rng` decides crop and mirror."""
        box = self._crop(*_size(image), rng)
        mirror = self.flip and rng.random() < 0.5
        return _filled(image, self.size, box, mirror, out)

    def _crop(self, width: int, height: int, rng: random.Random) -> tuple[float, float, float, float]:
        smallest, largest = (share * width * height for share in self.scale)
        for _ in range(10):
            aspect = rng.uniform(3 / 4, 4 / 3)
            low = round(math.sqrt(smallest / aspect))
            high = min(round(math.sqrt(largest / aspect)), height, int(width / aspect))
            if not 0 < low <= high:
                continue
            crop_height = rng.randint(low, high)
            crop_width = min(round(crop_height * aspect), width)
            if crop_width > 0:
                left = rng.randint(0, width - crop_width)
                top = rng.randint(0, height - crop_height)
                return left, top, left + crop_width, top + crop_height
        return 0, 0, width, height


def _size(image: Decoded) -> tuple[int, int]:
    """(width, height)"""
    return (image.shape[1], image.shape[0]) if isinstance(image, np.ndarray) else image.size


def _filled(
    image: Decoded, size: int, box: tuple[float, float, float, float], mirror: bool, out: Pixels | None
) -> Pixels:
    out = np.empty((size, size, 3), np.uint8) if out is None else out
    resize(image, size, box, mirror, out)
    return out
