"""Streams of the dataset blobs with and without a cache of pixels, as hashes."""

from __future__ import annotations

from pathlib import Path

from datasets.pixel_cache import PixelCache
from datasets.shards import Prepared
from datasets.stream import EvalStream, TrainStream, read_image, samples
from datasets.transforms import EvalTransform, FinishedTransform, TrainTransform
from tests.datasets.test_stream import pixel_hash

EVALUATION = EvalTransform("lipsum", 16)
EACH = 3 * 36 * 36
"""bytes of an image of Blobs"""


def train_hash(prepared: Prepared, cache: PixelCache | None, domain: str = "disc", threads: int = 2) -> str:
    images = samples(prepared, domain, "train")
    reader = cache.reader(prepared, images) if cache else read_image
    made = TrainStream(
        samples=images,
        transform=TrainTransform(16, (0.3, 1.0), flip=True),
        seed=3,
        global_batch_size=12,
        threads=threads,
        reader=reader,
    )
    return pixel_hash(list(made.batches(0, 6)))


def eval_hash(prepared: Prepared, cache: PixelCache | None, domain: str = "disc") -> str:
    images = samples(prepared, domain, "test")
    reader = cache.reader(prepared, images, EVALUATION) if cache else read_image
    transform = FinishedTransform(16) if cache else EVALUATION
    return pixel_hash(list(EvalStream(samples=images, transform=transform, batch_size=5, threads=2, reader=reader)))


def content(folder: Path) -> int:
    """Bytes of all pixel files, without their headers and tables."""
    return sum(path.stat().st_size - 8192 for path in folder.glob("*.pixels"))
