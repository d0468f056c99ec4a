"""Streams of the dataset blobs with and without a cache of pixels, as hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch

from datasets.pixel_cache import PixelCache
from datasets.shards import Prepared
from datasets.stream import EvalStream, TrainStream, read_image, samples
from datasets.transforms import EvalTransform, FinishedTransform, TrainTransform
from tests.datasets.test_stream import pixel_hash
from training.types import RawBatch

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


def parts(
    prepared: Prepared, rank: int = 0, world_size: int = 1, threads: int = 2
) -> tuple[list[RawBatch], list[RawBatch]]:
    """(training batches, evaluation batches) as one worker of several sees them."""
    images, place = samples(prepared, "disc", "train"), {"rank": rank, "world_size": world_size, "threads": threads}
    transform = TrainTransform(16, (0.3, 1.0), flip=True)
    train = TrainStream(samples=images, transform=transform, seed=3, global_batch_size=12, **place)
    return list(train.batches(0, 6)), list(EvalStream(samples=images, transform=EVALUATION, batch_size=5, **place))


def together(found: Sequence[tuple[list[RawBatch], list[RawBatch]]]) -> str:
    """A hash of all workers' parts, put together as they belong: side by side in training, one after the other else."""
    trained = [batch for same_step in zip(*(train for train, _ in found), strict=True) for batch in same_step]
    return hash_of_images([*trained, *(batch for _, evaluated in found for batch in evaluated)])


def hash_of_images(batches: Sequence[RawBatch]) -> str:
    """Of pixels, labels and keys in order, however they are cut into batches."""
    images = torch.cat([batch.images.contiguous() for batch in batches]).numpy().tobytes()
    labels = torch.cat([batch.labels for batch in batches]).numpy().tobytes()
    keys = "\n".join(key for batch in batches for key in batch.keys).encode()
    return hashlib.sha256(images + labels + keys).hexdigest()
