"""The evaluation crops are the published ones; the training crop stays within its bounds."""

from __future__ import annotations

import random

import numpy as np
import pytest
from PIL import Image

from datasets.transforms import EvalTransform, TrainTransform, decode


def framed(width: int, height: int, margin: int) -> Image.Image:
    """White, with a black frame of `margin` pixels."""
    image = Image.new("RGB", (width, height))
    image.paste((255, 255, 255), (margin, margin, width - margin, height - margin))
    return image


def test_lipsum_crops_seven_eighths_of_the_short_side() -> None:
    inside = EvalTransform("lipsum", 224)(framed(256, 256, 16))
    assert inside.shape == (224, 224, 3)
    assert inside.min() == 255  # the frame is exactly what is cut off
    assert EvalTransform("lipsum", 224)(framed(256, 256, 18)).min() < 255


def test_openai_keeps_the_whole_short_side() -> None:
    assert EvalTransform("openai", 64)(framed(128, 128, 2)).min() < 255
    wide = EvalTransform("openai", 64)(framed(256, 128, 0))
    assert wide.shape == (64, 64, 3)


def test_the_central_square_of_a_wide_image_is_taken() -> None:
    image = Image.new("RGB", (300, 100))
    image.paste((255, 0, 0), (100, 0, 200, 100))
    for name in ("lipsum", "openai"):
        pixels = EvalTransform(name, 32)(image)
        assert (pixels[:, 2:-2] == (255, 0, 0)).all()


@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.5, 0.6), (1.0, 1.0)])
@pytest.mark.parametrize("size", [(64, 64), (200, 50), (31, 90)])
def test_crops_lie_inside_and_have_the_asked_area(scale: tuple[float, float], size: tuple[int, int]) -> None:
    transform = TrainTransform(32, scale, flip=False)
    width, height = size
    for seed in range(200):
        left, top, right, bottom = transform._crop(width, height, random.Random(seed))
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        share = (right - left) * (bottom - top) / (width * height)
        whole = (left, top, right, bottom) == (0, 0, width, height)
        assert whole or scale[0] * 0.9 - 0.02 <= share <= scale[1] * 1.1 + 0.02
        assert whole or 0.7 <= (right - left) / (bottom - top) <= 1.4


def test_half_of_the_images_are_mirrored() -> None:
    image = Image.new("RGB", (32, 32))
    image.paste((255, 255, 255), (0, 0, 16, 32))
    transform = TrainTransform(32, (1.0, 1.0), flip=True)
    mirrored = [transform(image, random.Random(seed))[16, 30].mean() > 128 for seed in range(400)]
    assert 0.4 < np.mean(mirrored) < 0.6


def test_greyscale_and_palette_become_rgb() -> None:
    import io

    for mode in ("L", "P", "CMYK"):
        buffer = io.BytesIO()
        Image.new(mode, (8, 8), 7).save(buffer, "TIFF")
        assert decode(buffer.getvalue()).mode == "RGB"


def test_a_truncated_image_raises() -> None:
    import io

    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).convert("RGB").save(buffer, "JPEG")
    with pytest.raises(OSError, match="truncated"):
        decode(buffer.getvalue()[:-400])
