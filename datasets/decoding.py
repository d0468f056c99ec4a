"""From the bytes of an image file to pixels. Pillow's are the reference; a faster decoder is used where it gives the same.

simplejpeg calls libjpeg-turbo as Pillow does, with the same inverse DCT and chroma upsampling, but writes RGB directly:
its pixels equal Pillow's for greyscale and colour JPEGs, baseline and progressive, of any subsampling, and take about two
thirds of the time. They differ for CMYK, by up to 2 levels. So `decode_fast` takes it for greyscale and colour alone,
and only after it has seen in this process that both decoders agree on a few JPEGs; whatever simplejpeg complains about
goes to Pillow, which decides whether it is an error. The decoder is therefore no part of a trial's identity.
"""

from __future__ import annotations

import functools
import io
import logging

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

log = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]
Decoded = Image.Image | Pixels
"""A decoded image: RGB of Pillow, or (H, W, 3) uint8."""

_PROGRAMS = ("EPS",)
"""Formats of Pillow's of which it has a program of the machine run what is in the file, whatever that is called."""
_JPEG = b"\xff\xd8\xff"
_AGREED = ("Gray", "YCbCr", "RGB")
_MOST_PIXELS = 50_000_000
"""Larger images go to Pillow, which knows decompression bombs."""


def open_image(data: bytes) -> Image.Image:
    """Pillow's image with nothing but its header read. Raises OSError for what is no image, or is a program to be run."""
    image = Image.open(io.BytesIO(data))
    if image.format in _PROGRAMS:
        raise OSError(f"{image.format} is a program for Ghostscript, which is not run")
    return image


def decode(data: bytes) -> Image.Image:
    """The RGB image in `data`, by Pillow. Raises OSError if it cannot be decoded whole."""
    with open_image(data) as image:
        return image.convert("RGB")


def decode_fast(data: bytes) -> Decoded:
    """The pixels that `decode` gives, sooner: (H, W, 3) uint8 of most JPEGs, else Pillow's image. Raises as `decode`."""
    if data.startswith(_JPEG) and _agree():
        pixels = _jpeg(data)
        if pixels is not None:
            return pixels
    return decode(data)


def as_array(image: Decoded) -> Pixels:
    """(H, W, 3) uint8 of a decoded image."""
    return image if isinstance(image, np.ndarray) else np.asarray(image)


def image_size(data: bytes) -> tuple[int, int]:
    """(width, height) from an image's header. Raises OSError if there is none."""
    with open_image(data) as image:
        return image.size


def _jpeg(data: bytes) -> Pixels | None:
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if colours in _AGREED and int(height) * int(width) <= _MOST_PIXELS:
            return np.asarray(simplejpeg.decode_jpeg(data, "RGB"))
    except ValueError:  # its only error: anything from a truncated file to a harmless warning
        return None
    return None


@functools.cache
def _agree() -> bool:
    """Whether both decoders, of the versions that are here, give the same pixels for a few noisy JPEGs."""
    noise = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (37, 51, 3), dtype=np.uint8)
    smooth = Image.fromarray(noise).resize((70, 45), Image.Resampling.BICUBIC)
    for mode, options in (
        ("RGB", {"subsampling": 2}),
        ("RGB", {"subsampling": 1, "progressive": True}),
        ("RGB", {"subsampling": 0, "quality": 95}),
        ("L", {}),
    ):
        buffer = io.BytesIO()
        smooth.convert(mode).save(buffer, "JPEG", **options)
        pixels = _jpeg(buffer.getvalue())
        if pixels is None or not np.array_equal(pixels, np.asarray(decode(buffer.getvalue()))):
            log.warning("simplejpeg and Pillow decode JPEGs differently here: Pillow alone is used, which is slower")
            return False
    return True
