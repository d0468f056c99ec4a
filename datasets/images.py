"""What becomes of one encoded image while a dataset is prepared: checked, reduced if asked for, or kept byte for byte.

The pixels that count are those of `PIL.Image.open(...).convert("RGB")`: the first frame of an animation, a palette,
transparency, greyscale or CMYK as PIL converts them. The orientation tag of EXIF is not applied, neither here nor in
training: pixels are used as published, as the published protocols do. Each image is decoded once, completely.

An image is kept as published, byte for byte, unless it is larger than `short_side`, or decoders disagree about it:
formats other than `FORMATS`, JPEGs with four channels (CMYK), and pixels of more than 8 bits as PIL opens them (16-bit
greyscale, floating point). Those are stored as PNG with the pixels that PIL gives; of 16-bit greyscale, it cuts off
everything brighter than 255.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from datasets.decoding import Decoded, decode_fast, open_image

JPEG_QUALITY = 95
FORMATS = {
    "JPEG": ("jpg", "jpeg"),
    "MPO": ("jpg", "jpeg"),  # a JPEG with further pictures behind it, as some cameras write
    "PNG": ("png",),
    "WEBP": ("webp",),
    "BMP": ("bmp",),
    "GIF": ("gif",),
    "TIFF": ("tif", "tiff"),
    "PPM": ("ppm",),
}
"""PIL's name of a format -> extensions that it has in shards, the first for files with a wrong one."""
_KEPT_MODES = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa"})
_ADDRESS = re.compile(r" ?<_io\.BytesIO object at 0x[0-9a-f]+>")


class BadImageError(ValueError):
    """An image that cannot be decoded; the message says why and is the same on every machine."""


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An encoded image as it goes into a shard."""

    data: bytes
    extension: str
    reencoded: bool = False
    """stored as PNG although it was not reduced, because decoders disagree about how it was published"""


@contextlib.contextmanager
def strict_pil() -> Iterator[None]:
    """PIL's limit against decompression bombs is an error inside; its other warnings are not shown."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def stored_image(data: bytes, extension: str, short_side: int | None) -> StoredImage:
    """What is stored of a published image: itself, or reduced to `short_side` pixels, or as PNG; see above.

    A larger image is reduced with PIL's bicubic filter (antialiased) and becomes a JPEG of quality 95. A known format with
    another extension gets its own. Raises BadImageError. Call it inside `strict_pil`.
    """
    try:
        with open_image(data) as opened:
            form, kept = opened.format or "", _decoders_agree(opened)
            reduced = short_side is not None and min(opened.size) > short_side
            decoded = _decoded(opened, data)
            if short_side is not None and reduced:
                return StoredImage(_reduced(_image(decoded), short_side), "jpg")
            if not kept:
                return StoredImage(_encoded(_image(decoded), "PNG"), "png", reencoded=True)
    except Exception as error:  # PIL and its codecs raise errors of many classes for broken files; each one is reported
        raise BadImageError(f"cannot be decoded: {_reason(error)}") from None
    return StoredImage(data, extension if extension in FORMATS[form] else FORMATS[form][0])


def _decoders_agree(image: Image.Image) -> bool:
    return image.format in FORMATS and image.mode in _KEPT_MODES


def _decoded(image: Image.Image, data: bytes) -> Decoded:
    """RGB pixels of an opened image, all of its data decoded; the faster decoder is taken where it gives the same."""
    if image.format in ("JPEG", "MPO") and image.mode in ("L", "RGB"):
        return decode_fast(data)
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")


def _image(decoded: Decoded) -> Image.Image:
    return decoded if isinstance(decoded, Image.Image) else Image.fromarray(decoded)


def _reduced(image: Image.Image, short_side: int) -> bytes:
    scale = short_side / min(image.size)
    width, height = (max(short_side, round(side * scale)) for side in image.size)
    return _encoded(image.resize((width, height), Image.Resampling.BICUBIC), "JPEG", quality=JPEG_QUALITY)


def _encoded(image: Image.Image, form: str, **options: int) -> bytes:
    image.info = {}  # comments and the like are not part of the picture
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "UnidentifiedImageError: no image in a format that PIL knows"
    return _ADDRESS.sub("", f"{type(error).__name__}: {error}")
