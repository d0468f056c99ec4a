"""Reads batches from webdataset shards, in an order that depends on nothing but the seed.

An index of every sample's place in its (uncompressed) shard makes a shard random-access. So the training order is one
permutation for each (seed, epoch), a batch is a slice of it and a rank's part a slice of the batch: the same images in
the same order for any number of workers and threads, and a run can be taken up at any step. An image's augmentation
depends on (seed, epoch, key) alone, so methods of one seed see the same pixels.

A batch has images of many shards, so those of a dataset that lies elsewhere are all fetched into the node's cache before
the first batch. If they do not fit its limit, they come and go as the order needs them, some ahead of it.
"""

from __future__ import annotations

import hashlib
import random
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from datasets import shard_cache
from datasets.decoding import Decoded, decode_fast, image_size
from datasets.samples import Sample, hold_out, samples
from datasets.transforms import EvalTransform, FinishedTransform, Pixels, TrainTransform
from training.types import RawBatch

__all__ = [
    "EvalStream",
    "Reader",
    "Sample",
    "TrainStream",
    "hold_out",
    "read_image",
    "read_size",
    "samples",
    "stable_seed",
]

T = TypeVar("T")

Reader = Callable[[Sample], Decoded]
"""From a sample to its decoded image; called on the stream's threads."""

Job = Callable[[Pixels], None]
"""Makes one image of a batch, (S, S, 3), in place."""

_ADDRESS = re.compile(r" ?<_io\.BytesIO object at 0x[0-9a-f]+>")  # Pillow names what it was given

MOST_AT_ONCE = 16
"""Images a thread is given at a time: handing over costs as much as a tenth of reading a cached image."""


def read_image(sample: Sample) -> Decoded:
    """Read and decode a sample. Raises what `Sample.read` raises, and OSError naming one that cannot be decoded."""
    return _made(sample, decode_fast)


def read_size(sample: Sample) -> tuple[int, int]:
    """(width, height) from a sample's header; raises as `read_image`."""
    return _made(sample, image_size)


def _made(sample: Sample, make: Callable[[bytes], T]) -> T:
    data = sample.read()
    try:
        return make(data)
    except OSError as error:
        reason = _ADDRESS.sub("", str(error))
        raise OSError(f"{sample.path}: {sample.key} cannot be decoded: {reason}") from error


def stable_seed(*parts: object) -> int:
    """A 64-bit seed from any printable parts, the same on every machine and in every process."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainStream:
    """An endless stream of augmented training batches; batch `i` is a pure function of the fields and `i`."""

    samples: Sequence[Sample]
    transform: TrainTransform
    seed: int
    global_batch_size: int
    rank: int = 0
    world_size: int = 1
    threads: int = 1
    reader: Reader = read_image
    shares: Sequence[int] = ()
    """sizes of consecutive parts of `samples`, each of which gives an even share of every batch; empty: the parts do not count"""

    def __post_init__(self) -> None:
        if self.shares and sum(self.shares) != len(self.samples):
            raise ValueError(f"shares {list(self.shares)} do not add up to the {len(self.samples)} samples")
        if self.global_batch_size % self.world_size:
            raise ValueError(
                f"global_batch_size {self.global_batch_size} is not divisible by {self.world_size} workers"
            )

    def permutation(self, epoch: int, part: int | None = None) -> np.ndarray:
        """The order of the samples, or of a part of them, in its epoch, (N,) int64."""
        seed = stable_seed("order", self.seed, epoch, *(() if part is None else (part,)))
        count = len(self.samples) if part is None else self.shares[part]
        return np.random.Generator(np.random.PCG64(seed)).permutation(count)

    def batches(self, start: int, stop: int) -> Iterator[RawBatch]:
        """This rank's parts of the global batches `start` (counted from 0) to `stop`, exclusive."""
        part = self.global_batch_size // self.world_size
        places = (
            (step * self.global_batch_size + self.rank * part + i) for step in range(start, stop) for i in range(part)
        )
        return _decoded(self._jobs(places), part, self.transform.size, self.threads)

    def _jobs(self, places: Iterable[int]) -> Iterator[tuple[Sample, Job]]:
        for epoch, index in self._draws(places):
            sample = self.samples[index]
            seed = stable_seed("augment", self.seed, epoch, sample.key)
            yield sample, _Augment(sample, self.reader, self.transform, seed)

    def _draws(self, places: Iterable[int]) -> Iterator[tuple[int, int]]:
        """(epoch, index of a sample) of each place; with shares the parts take turns, each at its own pace of epochs."""
        parts: Sequence[int | None] = range(len(self.shares)) if len(self.shares) > 1 else (None,)
        starts = (0, *accumulate(self.shares))
        orders: dict[int | None, tuple[int, np.ndarray]] = {}
        for place in places:
            part = parts[place % len(parts)]
            epoch, rest = divmod(place // len(parts), len(self.samples) if part is None else self.shares[part])
            if part not in orders or orders[part][0] != epoch:
                orders[part] = (epoch, self.permutation(epoch, part))
            yield epoch, int(orders[part][1][rest]) + (0 if part is None else starts[part])


@dataclass(frozen=True, slots=True)
class _Augment:
    sample: Sample
    reader: Reader
    transform: TrainTransform
    seed: int

    def __call__(self, out: Pixels) -> None:
        self.transform(self.reader(self.sample), random.Random(self.seed), out)


@dataclass(frozen=True, slots=True)
class _Evaluate:
    sample: Sample
    reader: Reader
    transform: EvalTransform | FinishedTransform

    def __call__(self, out: Pixels) -> None:
        self.transform(self.reader(self.sample), out)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalStream:
    """One ordered pass over a split; a rank sees a contiguous part of it, so that parts in order of rank are the split."""

    samples: Sequence[Sample]
    transform: EvalTransform | FinishedTransform
    batch_size: int = 256
    rank: int = 0
    world_size: int = 1
    threads: int = 1
    reader: Reader = read_image

    def __iter__(self) -> Iterator[RawBatch]:
        bounds = [round(i * len(self.samples) / self.world_size) for i in range(self.world_size + 1)]
        mine = self.samples[bounds[self.rank] : bounds[self.rank + 1]]
        jobs = ((sample, _Evaluate(sample, self.reader, self.transform)) for sample in mine)
        return _decoded(jobs, self.batch_size, self.transform.size, self.threads)


def _decoded(jobs: Iterable[tuple[Sample, Job]], batch_size: int, size: int, threads: int) -> Iterator[RawBatch]:
    """Run the jobs on threads, two batches ahead of the consumer, and give batches in order; the last one may be short.

    Threads, not processes: decoding and resizing run outside the interpreter lock, and nothing has to be forked after
    CUDA or Ray have started. A thread takes several images at a time and writes them where they belong in the batch.
    """
    executor = ThreadPoolExecutor(max_workers=max(1, threads), thread_name_prefix="decode")
    waiting: deque[_Coming] = deque()
    remaining, ahead, memory = iter(jobs), _Ahead(), _Memory()

    def top_up() -> None:
        while len(waiting) < 3 and (batch := list(islice(remaining, batch_size))):
            for sample, _ in batch:
                ahead.look(sample)
            pixels = memory.take((len(batch), size, size, 3))
            waiting.append(_Coming.start(batch, pixels, max(1, threads), executor))

    try:
        top_up()
        while waiting:
            coming = waiting.popleft()
            top_up()
            yield coming.finished()
    finally:
        ahead.stop()
        executor.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class _Coming:
    """A batch that threads are working on."""

    samples: list[Sample]
    pixels: Pixels
    """(B, S, S, 3)"""
    parts: list[Future[None]]

    @classmethod
    def start(
        cls, batch: list[tuple[Sample, Job]], pixels: Pixels, threads: int, executor: ThreadPoolExecutor
    ) -> _Coming:
        """Hand the jobs to the threads, in parts small enough to keep all of them busy."""
        jobs = [job for _, job in batch]
        step = max(1, min(MOST_AT_ONCE, len(batch) // (2 * threads)))
        parts = [executor.submit(_run, jobs[i : i + step], pixels[i : i + step]) for i in range(0, len(batch), step)]
        return cls([sample for sample, _ in batch], pixels, parts)

    def finished(self) -> RawBatch:
        """Wait for it. Raises what a job has raised, the first in order."""
        for part in self.parts:
            part.result()
        return RawBatch(
            images=torch.from_numpy(self.pixels).permute(0, 3, 1, 2),
            labels=torch.tensor([sample.label for sample in self.samples], dtype=torch.int64),
            keys=tuple(sample.key for sample in self.samples),
            captions=tuple(sample.caption for sample in self.samples),
        )


class _Memory:
    """Gives the memory of a batch to a later one as soon as nobody holds it, as malloc would, which keeps no blocks so large.

    Memory that is new costs a stream a tenth of reading cached images: the system clears it, page by page. Every tensor
    and array on a batch's pixels counts as a reference to the array they began as, and that count tells who holds it.
    """

    MOST = 6
    """batches: three on the way, one given, one held by who asks for it, one to spare"""

    def __init__(self) -> None:
        self._kept: list[Pixels] = [np.empty(0, np.uint8)]
        self._alone = sys.getrefcount(self._kept[0])

    def take(self, shape: tuple[int, ...]) -> Pixels:
        """An array of this shape with anything in it."""
        for place in range(len(self._kept)):
            if sys.getrefcount(self._kept[place]) == self._alone and self._kept[place].shape == shape:
                return self._kept[place]
        made = np.empty(shape, np.uint8)
        if len(self._kept) <= self.MOST:
            self._kept.append(made)
        return made


def _run(jobs: Sequence[Job], pixels: Pixels) -> None:
    for job, out in zip(jobs, pixels, strict=True):
        job(out)


class _Ahead:
    """Fetches the shards that the cache lost, or has no room for, as soon as a sample of them gets in sight."""

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None
        self._coming: dict[Path, Future[None]] = {}

    def look(self, sample: Sample) -> None:
        """Begin to fetch the sample's shard if it is not here. An error is left to who reads the sample."""
        if sample.remote is None or sample.path.exists():
            return
        if (coming := self._coming.get(sample.path)) is None or coming.done():
            if self._executor is None:
                self._executor = ThreadPoolExecutor(shard_cache.PARALLEL, thread_name_prefix="fetch")
            self._coming[sample.path] = self._executor.submit(shard_cache.fetch, sample.remote)

    def stop(self) -> None:
        """Give up what has not begun."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
