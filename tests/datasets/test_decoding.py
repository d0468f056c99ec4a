"""Faster ways to the same pixels: the JPEG decoder and the compiled resize equal Pillow bit for bit."""

from __future__ import annotations

import io
import random
import sys
import tarfile
from itertools import product
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image, ImageFile

from datasets import decoding, resample
from datasets.decoding import decode, decode_fast
from datasets.transforms import EvalTransform, TrainTransform

PACS = Path("../shared/data/pacs-128.tar")


def noise(width: int, height: int, channels: int = 3) -> np.ndarray:
    made = np.random.default_rng(width + 1000 * height).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return made[..., 0] if channels == 1 else made


def encoded(image: Image.Image, form: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    ImageFile.MAXBLOCK = 1 << 20  # noise does not fit Pillow's first guess for progressive files
    image.save(buffer, form, **options)
    return buffer.getvalue()


def pacs_images(count: int) -> list[bytes]:
    if not PACS.exists():
        pytest.skip(f"{PACS} is not here")
    with tarfile.open(PACS) as tar:
        members = [member for member in tar.getmembers() if member.name.endswith(".jpg")]
        files = [tar.extractfile(member) for member in members[:: len(members) // count]]
        return [file.read() for file in files if file]


@pytest.fixture(scope="module")
def compiled() -> None:
    assert resample.compile_now(), "the compiled resize must agree with the pinned Pillow"


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpegs_of_every_kind_decode_as_pillow_does(mode: str) -> None:
    channels = {"L": 1, "RGB": 3, "CMYK": 4}[mode]
    subsamplings: tuple[object, ...] = (0, 1, 2, "4:1:1") if mode == "RGB" else (None,)
    sizes = [(1, 1), (7, 5), (16, 16), (33, 17), (129, 50)]
    for size, subsampling, progressive, quality in product(sizes, subsamplings, (False, True), (30, 99)):
        options = {} if subsampling is None else {"subsampling": subsampling}
        image = Image.fromarray(noise(*size, channels), mode)
        data = encoded(image, progressive=progressive, quality=quality, **options)
        assert np.array_equal(np.asarray(decode_fast(data)), np.asarray(decode(data))), (size, subsampling, progressive)


def test_simplejpeg_decodes_what_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.fromarray(noise(20, 10)))
    assert isinstance(decode_fast(data), np.ndarray)
    assert isinstance(decode_fast(encoded(Image.fromarray(noise(20, 10, 4), "CMYK"))), Image.Image)
    assert isinstance(decode_fast(encoded(Image.fromarray(noise(20, 10)), "PNG")), Image.Image)
    monkeypatch.setattr(decoding, "_MOST_PIXELS", 100)
    assert isinstance(decode_fast(data), Image.Image)


def test_a_decoder_that_differs_is_not_used(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    real = decoding.simplejpeg.decode_jpeg
    monkeypatch.setattr(decoding.simplejpeg, "decode_jpeg", lambda *given: real(*given) ^ 1)
    decoding._agree.cache_clear()
    try:
        assert isinstance(decode_fast(encoded(Image.fromarray(noise(20, 10)))), Image.Image)
        assert "Pillow alone is used" in caplog.text
    finally:
        decoding._agree.cache_clear()


def test_what_the_fast_decoder_refuses_is_left_to_pillow() -> None:
    data = encoded(Image.fromarray(noise(64, 64)))
    harmless = data[:900] + b"\x00\x01\x02" + data[903:]
    assert np.array_equal(np.asarray(decode_fast(harmless)), np.asarray(decode(harmless)))
    with pytest.raises(OSError, match="truncated"):
        decode_fast(data[:-400])


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        (256, 256, 224),
        (96, 128, 64),
        (128, 96, 64),
        (40, 300, 32),
        (300, 40, 32),
        (4, 9, 32),
        (64, 65, 64),
        (30, 30, 64),
        (90, 88, 64),
        (61, 67, 50),
    ],
)
def test_the_compiled_resize_equals_pillow(compiled: None, width: int, height: int, size: int) -> None:
    rows = noise(width, height)
    columns = np.ascontiguousarray(rows.transpose(1, 0, 2)).transpose(1, 0, 2)
    image = Image.fromarray(rows)
    transform, rng = TrainTransform(size, (0.05, 1.0), flip=True), random.Random(0)
    boxes = [transform._crop(width, height, rng) for _ in range(30)]
    boxes += [(0, 0, width, height), (0.5, 0.25, width - 0.25, height - 0.75)]
    made = np.empty((size, size, 3), np.uint8)
    for number, box in enumerate(boxes):
        expected = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))
        expected = expected[:, ::-1] if number % 2 else expected
        for array in (rows, columns):
            resample.resize(array, size, box, number % 2 == 1, made)
            assert np.array_equal(made, expected), box


def test_photographs_give_the_same_crops_on_both_paths(compiled: None) -> None:
    """The largest difference between Pillow's path and the fast one is 0 grey levels."""
    train, finish = TrainTransform(96, (0.08, 1.0), flip=True), EvalTransform("lipsum", 96)
    for seed, data in enumerate(pacs_images(60)):
        reference, fast = decode(data), decode_fast(data)
        assert isinstance(fast, np.ndarray)
        for one, two in (
            (train(reference, random.Random(seed)), train(fast, random.Random(seed))),
            (finish(reference), finish(fast)),
        ):
            assert np.abs(one.astype(int) - two).max() == 0


def test_a_pillow_that_resizes_otherwise_is_used_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(resample, "_tall_first", resample._never_first)
    agrees = resample._agrees
    monkeypatch.setattr(resample, "_agrees", lambda made, w, h, s: (w, h) != (60, 40) and agrees(made, w, h, s))
    assert resample._compiled() is None
    assert "used itself" in caplog.text


@pytest.mark.parametrize("error", [ImportError("numba needs another numpy"), RuntimeError("LLVM ERROR:\n  no target")])
def test_a_resize_that_cannot_be_compiled_leaves_the_work_to_pillow(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(ModuleType):
        def __getattr__(self, name: str) -> None:
            raise error

    monkeypatch.setitem(sys.modules, "datasets.resample_kernel", Broken("broken"))
    monkeypatch.delattr("datasets.resample_kernel", raising=False)
    monkeypatch.setattr(resample, "COMPILE_AFTER", 1)
    monkeypatch.setattr(resample, "_KERNEL", resample._Kernel())
    array = noise(50, 40)
    expected = np.asarray(Image.fromarray(array).resize((32, 32), Image.Resampling.BICUBIC, box=(3, 2, 45, 40)))
    for _ in range(4):
        made = np.empty((32, 32, 3), np.uint8)
        resample.resize(array, 32, (3, 2, 45, 40), False, made)
        assert np.array_equal(made, expected)
    (record,) = caplog.records
    assert "cannot be compiled" in record.getMessage()
    assert " ".join(str(error).split()) in record.getMessage()
    assert "\n" not in record.getMessage()


def test_the_resize_is_compiled_when_that_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(resample, "COMPILE_AFTER", 3)
    monkeypatch.setattr(resample, "_compiled", lambda: calls.append(1))
    kernel = resample._Kernel()
    assert [kernel.get() for _ in range(3)] == [None] * 3
    assert not calls
    assert [kernel.get() for _ in range(3)] == [None] * 3
    assert calls == [1]
