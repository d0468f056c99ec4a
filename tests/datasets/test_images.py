"""Odd images: what is stored has the pixels of PIL's RGB conversion, whatever they were published as."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from datasets.decoding import decode_fast, image_size
from datasets.images import BadImageError, StoredImage, stored_image, strict_pil

pytestmark = pytest.mark.filterwarnings("ignore:Palette images with Transparency")  # of the expected pixels
RNG = np.random.default_rng(0)
NOISE = Image.fromarray(RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8))


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def rgb(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def stored(data: bytes, extension: str, short_side: int | None = None) -> StoredImage:
    with strict_pil():
        return stored_image(data, extension, short_side)


def palette_with_transparency() -> bytes:
    image = NOISE.convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    return encoded(image, "PNG", transparency=bytes(range(0, 256, 16)))


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(NOISE, "JPEG", exif=exif)


GREY16 = Image.fromarray(RNG.integers(0, 65536, (20, 30), dtype=np.uint16))
FLOAT = Image.fromarray(RNG.random((20, 30), dtype=np.float32) * 300)
ANIMATED = {"save_all": True, "append_images": [NOISE.rotate(180)], "duration": 10}

KEPT = {
    "JPEG": (encoded(NOISE, "JPEG"), "jpg"),
    "progressive JPEG": (encoded(NOISE, "JPEG", progressive=True), "jpeg"),
    "greyscale JPEG": (encoded(NOISE.convert("L"), "JPEG"), "jpg"),
    "JPEG to be turned": (rotated(), "jpg"),
    "two-picture JPEG": (encoded(NOISE, "MPO", save_all=True, append_images=[NOISE.rotate(180)]), "jpg"),
    "palette": (encoded(NOISE.convert("P"), "PNG"), "png"),
    "palette with transparency": (palette_with_transparency(), "png"),
    "greyscale": (encoded(NOISE.convert("L"), "PNG"), "png"),
    "greyscale and alpha": (encoded(NOISE.convert("LA"), "PNG"), "png"),
    "alpha": (encoded(NOISE.convert("RGBA"), "PNG"), "png"),
    "1-bit": (encoded(NOISE.convert("1"), "PNG"), "png"),
    "animated GIF": (encoded(NOISE, "GIF", **ANIMATED), "gif"),
    "animated WebP": (encoded(NOISE, "WEBP", lossless=True, **ANIMATED), "webp"),
    "TIFF of two pages": (encoded(NOISE, "TIFF", save_all=True, append_images=[NOISE.rotate(180)]), "tiff"),
    "BMP": (encoded(NOISE, "BMP"), "bmp"),
}


@pytest.mark.parametrize("kind", KEPT)
def test_what_decoders_agree_about_is_kept_byte_for_byte(kind):
    data, extension = KEPT[kind]
    assert stored(data, extension) == StoredImage(data, extension)


@pytest.mark.parametrize(
    ("data", "extension"),
    [
        (encoded(NOISE.convert("CMYK"), "JPEG"), "jpg"),
        (encoded(NOISE.convert("CMYK"), "TIFF"), "tif"),
        (encoded(GREY16, "PNG"), "png"),
        (encoded(FLOAT, "TIFF"), "tiff"),
        (encoded(NOISE, "TGA"), "tga"),
        (encoded(NOISE, "JPEG2000"), "jp2"),
    ],
    ids=["CMYK JPEG", "CMYK TIFF", "16-bit PNG", "floating point", "TGA", "JPEG 2000"],
)
def test_what_they_disagree_about_becomes_png_with_pils_pixels(data, extension):
    made = stored(data, extension)
    assert (made.extension, made.reencoded) == ("png", True)
    with Image.open(io.BytesIO(made.data)) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        assert image.tobytes() == rgb(data).tobytes()


def test_16_bits_are_what_pil_makes_of_them():
    pixels = np.asarray(rgb(stored(encoded(GREY16, "PNG"), "png").data))
    assert (pixels == np.minimum(np.asarray(GREY16), 255)[..., None]).all(), "PIL cuts off what is brighter than 255"


@pytest.mark.parametrize(
    ("form", "wrong", "right"),
    [("JPEG", "png", "jpg"), ("PNG", "jpg", "png"), ("GIF", "", "gif"), ("JPEG", "jfif", "jpg")],
)
def test_a_wrong_extension_is_put_right(form, wrong, right):
    data = encoded(NOISE, form)
    assert stored(data, wrong) == StoredImage(data, right)


@pytest.mark.parametrize("kind", KEPT)
def test_larger_images_are_reduced_from_pils_pixels(kind):
    made = stored(*KEPT[kind], short_side=10)
    assert made.extension == "jpg" and not made.reencoded
    expected = encoded(rgb(KEPT[kind][0]).resize((15, 10), Image.Resampling.BICUBIC), "JPEG", quality=95)
    assert rgb(made.data).tobytes() == rgb(expected).tobytes()
    assert Image.open(io.BytesIO(made.data)).getexif() == {}
    assert stored(*KEPT[kind], short_side=20) == stored(*KEPT[kind]), "no larger"


def test_the_tag_of_exif_does_not_turn_an_image():
    assert rgb(stored(rotated(), "jpg").data).size == (30, 20)
    assert rgb(stored(rotated(), "jpg", short_side=10).data).size == (15, 10)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "UnidentifiedImageError: no image in a format that PIL knows$"),
        (b"<html>404</html>", "UnidentifiedImageError"),
        (encoded(NOISE, "JPEG")[:-300], "OSError"),
        (encoded(NOISE, "PNG")[:-200], "OSError"),
        (encoded(NOISE, "WEBP")[:-40], ""),
    ],
)
def test_what_cannot_be_decoded_says_why(data, message):
    with pytest.raises(BadImageError, match=f"^cannot be decoded: .*{message}") as raised:
        stored(data, "jpg")
    assert " at 0x" not in str(raised.value)


def test_a_bomb_is_an_error(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20 * 30 - 1)
    for times in (1, 4):
        data = encoded(Image.new("RGB", (30 * times, 20)), "PNG")
        with pytest.raises(BadImageError, match=r"DecompressionBomb\w+: Image size \(\d+ pixels\) exceeds limit of"):
            stored(data, "png")


def test_pils_warnings_are_not_shown(recwarn):
    stored(palette_with_transparency(), "png")
    assert not recwarn.list


def test_equal_images_give_equal_bytes(tmp_path: Path):
    for data, extension in KEPT.values():
        assert stored(data, extension, 8) == stored(data, extension, 8)


def test_no_program_is_run_for_an_image(monkeypatch):
    """PIL has Ghostscript, where it is installed, run what is in an EPS file, whatever that is called; shards may hold one."""
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was run"))
    for read in (decode_fast, image_size):
        with pytest.raises(OSError, match="EPS is a program for Ghostscript, which is not run"):
            read(encoded(NOISE, "EPS"))
    for short_side in (None, 8):
        with pytest.raises(BadImageError, match="EPS is a program for Ghostscript, which is not run"):
            stored(encoded(NOISE, "EPS"), "jpg", short_side)
