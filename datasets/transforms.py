"""From a decoded image to the (S, S, 3) uint8 array a model takes: named evaluation crops and the training crop.

Resizing is Pillow's bicubic, which filters when it shrinks. The paper's pipeline (TensorFlow) does not filter and keeps
the overshoot of the bicubic kernel; here values are rounded and clipped to uint8.
"""

from __future__ import annotations

import io
import math
import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def decode(data: bytes) -> Image.Image:
    """The RGB image in `data`. Raises OSError (Pillow) if it cannot be decoded whole."""
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB")


@dataclass(frozen=True, slots=True)
class EvalTransform:
    """Deterministic preprocessing.

    'lipsum': central square of 224/256 of the short side, resized to `size` (cs-giung/lipsum-ft@1331873d21a4
    src/input_pipeline.py). 'openai': short side to `size`, then the central square (openai/CLIP). The zoom of the first
    moves ImageNet-A by about +2 points and -R, -Sketch by -1.5: never mix them in one table.
    """

    preprocessing: str
    size: int

    def __call__(self, image: Image.Image) -> Pixels:
        """(size, size, 3) uint8."""
        width, height = image.size
        short = min(width, height)
        side = short * 224 / 256 if self.preprocessing == "lipsum" else short
        left, top = (width - side) / 2, (height - side) / 2
        return _resize(image, self.size, (left, top, left + side, top + side))


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

    def __call__(self, image: Image.Image, rng: random.Random) -> Pixels:
        """(size, size, 3) uint8; `rng` decides crop and mirror."""
        pixels = _resize(image, self.size, self._crop(*image.size, rng))
        if self.flip and rng.random() < 0.5:
            return np.ascontiguousarray(pixels[:, ::-1])
        return pixels

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


def _resize(image: Image.Image, size: int, box: tuple[float, float, float, float]) -> Pixels:
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))
