"""Reads batches from webdataset shards, in an order that depends on nothing but the seed.

An index of every sample's place in its (uncompressed) shard makes a shard random-access. So the training order is one
permutation for each (seed, epoch), a batch is a slice of it and a rank's part a slice of the batch: the same images in
the same order for any number of workers and threads, and a run can be taken up at any step. An image's augmentation
depends on (seed, epoch, key) alone, so methods of one seed see the same pixels.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from datasets.shards import Prepared, index_shard
from datasets.transforms import EvalTransform, Pixels, TrainTransform, decode
from training.types import RawBatch


@dataclass(frozen=True, slots=True)
class Sample:
    """Where one image lies. `key` is '<domain>/<key in the shard>'."""

    key: str
    label: int
    path: Path
    offset: int
    size: int
    caption: str | None = None

    def read(self) -> bytes:
        """The encoded image. Raises OSError naming the shard if it has become shorter than its index says."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            data = os.pread(descriptor, self.size, self.offset)
        finally:
            os.close(descriptor)
        if len(data) != self.size:
            raise OSError(
                f"{self.path}: {self.key} ends after {len(data)} of {self.size} bytes; prepare the dataset again"
            )
        return data


def samples(prepared: Prepared, domain: str, split: str) -> list[Sample]:
    """All samples of a split ('train' or 'test') in the order of its shards. Raises ValueError if there are none."""
    found = []
    for shard in prepared.select(domain, split):
        path = Path(prepared.root) / shard.name
        entries = index_shard(path)
        if len(entries) != shard.count:
            raise ValueError(
                f"{path} holds {len(entries)} samples, dataset.json says {shard.count}; prepare the dataset again"
            )
        found += [Sample(f"{domain}/{e.key}", e.label, path, e.offset, e.size, e.caption) for e in entries]
    if not found:
        raise ValueError(f"dataset {prepared.name} has no {split} images of domain {domain!r}")
    return found


def hold_out(train: Sequence[Sample], fraction: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Split training samples into (train, val), each in the original order.

    The `fraction` with the smallest sha256 of (seed, key) is held out, at least one image: an image's side depends on its
    key, not on its neighbours, so that adding images to a domain moves few others. Raises ValueError if nothing is left.
    """
    ranked = sorted(train, key=lambda sample: hashlib.sha256(f"{seed}:{sample.key}".encode()).digest())
    held = {sample.key for sample in ranked[: max(1, round(fraction * len(train)))]}
    rest = [sample for sample in train if sample.key not in held]
    if not rest:
        raise ValueError(f"holding out {fraction} of {len(train)} training images leaves none to train on")
    return rest, [sample for sample in train if sample.key in held]


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

    def __post_init__(self) -> None:
        if self.global_batch_size % self.world_size:
            raise ValueError(
                f"global_batch_size {self.global_batch_size} is not divisible by {self.world_size} workers"
            )

    def permutation(self, epoch: int) -> np.ndarray:
        """The order of the samples in an epoch, (N,) int64."""
        return np.random.Generator(np.random.PCG64(stable_seed("order", self.seed, epoch))).permutation(
            len(self.samples)
        )

    def batches(self, start: int, stop: int) -> Iterator[RawBatch]:
        """This rank's parts of the global batches `start` (counted from 0) to `stop`, exclusive."""
        part = self.global_batch_size // self.world_size
        places = (
            (step * self.global_batch_size + self.rank * part + i) for step in range(start, stop) for i in range(part)
        )
        return _decoded(self._jobs(places), part, self.threads)

    def _jobs(self, places: Iterable[int]) -> Iterator[tuple[Sample, Callable[[], Pixels]]]:
        count, epoch, order = len(self.samples), -1, np.empty(0, dtype=np.int64)
        for place in places:
            if place // count != epoch:
                epoch = place // count
                order = self.permutation(epoch)
            sample = self.samples[order[place % count]]
            yield sample, _Augment(sample, self.transform, stable_seed("augment", self.seed, epoch, sample.key))


@dataclass(frozen=True, slots=True)
class _Augment:
    sample: Sample
    transform: TrainTransform
    seed: int

    def __call__(self) -> Pixels:
        return self.transform(decode(self.sample.read()), random.Random(self.seed))


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalStream:
    """One ordered pass over a split; a rank sees a contiguous part of it, so that parts in order of rank are the split."""

    samples: Sequence[Sample]
    transform: EvalTransform
    batch_size: int = 256
    rank: int = 0
    world_size: int = 1
    threads: int = 1

    def __iter__(self) -> Iterator[RawBatch]:
        bounds = [round(i * len(self.samples) / self.world_size) for i in range(self.world_size + 1)]
        mine = self.samples[bounds[self.rank] : bounds[self.rank + 1]]
        jobs = ((sample, lambda sample=sample: self.transform(decode(sample.read()))) for sample in mine)
        return _decoded(jobs, self.batch_size, self.threads)


def _decoded(jobs: Iterable[tuple[Sample, Callable[[], Pixels]]], batch_size: int, threads: int) -> Iterator[RawBatch]:
    """Run the jobs on threads, two batches ahead of the consumer, and stack them in order; the last batch may be short.

    Threads, not processes: Pillow decodes and resizes outside the interpreter lock, and nothing has to be forked after
    CUDA or Ray have started.
    """
    executor = ThreadPoolExecutor(max_workers=max(1, threads), thread_name_prefix="decode")
    waiting: deque[tuple[Sample, Future[Pixels]]] = deque()
    remaining = iter(jobs)

    def top_up() -> None:
        while len(waiting) < 3 * batch_size and (job := next(remaining, None)) is not None:
            waiting.append((job[0], executor.submit(job[1])))

    try:
        top_up()
        while waiting:
            ready = [waiting.popleft() for _ in range(min(batch_size, len(waiting)))]
            top_up()
            yield _stack([sample for sample, _ in ready], [future.result() for _, future in ready])
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _stack(batch: Sequence[Sample], pixels: Sequence[Pixels]) -> RawBatch:
    return RawBatch(
        images=torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2),
        labels=torch.tensor([sample.label for sample in batch], dtype=torch.int64),
        keys=tuple(sample.key for sample in batch),
        captions=tuple(sample.caption for sample in batch),
    )
