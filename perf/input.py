"""What an image costs from shard to batch: `python -m perf.input [IMAGES] [ROUNDS]`.

In one run, with one thread, on the same images of 256 x 256 pixels (generated with the spectrum of photographs, JPEG of
quality 90) cropped to 224, in batches of uint8: streamed with Pillow alone, streamed with the fast decoder and the compiled
resize, and from the pixel cache; then evaluation. CPU time of the process, each round some passes over the images without
a stop, as epochs are; times are medians of rounds that take turns, ratios medians of each round's ratio. What happens once
(compiling, filling the cache, checking it in a new process) is printed beside it. All give the same pixels, which is
checked here too.
"""

from __future__ import annotations

import io
import os
import platform
import random
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from datasets import resample
from datasets.base import Dataset, Entry, Published
from datasets.decoding import Decoded, Pixels, as_array, decode, decode_fast
from datasets.pixel_cache import GIB, PixelCache
from datasets.shards import Prepared, write_prepared
from datasets.stream import EvalStream, TrainStream, samples
from datasets.transforms import EvalTransform, FinishedTransform, TrainTransform
from perf.generated import generated_info
from training.types import RawBatch

SIZE, STORED, BATCH, PASSES = 224, 256, 64, 4


class Photographs(Dataset):
    """Noise with an amplitude that falls with frequency, as in photographs."""

    generated = True

    def __init__(self, count: int) -> None:
        self.info = generated_info("photographs", count)

    def entries(self, domain: str, split: str, source: Published | None) -> Sequence[Entry]:
        """All of them."""
        return [Entry(f"{i:06d}", 0, str(i), None) for i in range(self.info.counts["all"]["train"])]

    def read(self, entry: Entry, source: Published | None) -> tuple[bytes, str]:
        """Draw one; some 20 kB."""
        rng = np.random.default_rng(int(entry.path))
        frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(STORED), np.fft.rfftfreq(STORED), indexing="ij"))
        waves = rng.normal(size=(3, *frequency.shape)) + 1j * rng.normal(size=(3, *frequency.shape))
        waves[1:] = 0.8 * waves[:1] + 0.3 * waves[1:]
        planes = np.fft.irfft2(waves / np.maximum(frequency, 1 / STORED) ** 1.5, s=(STORED, STORED))
        image = np.clip(128 + 50 * planes / planes.std(), 0, 255).astype(np.uint8).transpose(1, 2, 0)
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(image)).save(buffer, "JPEG", quality=90)
        return buffer.getvalue(), "jpg"


@dataclass(frozen=True, slots=True)
class PillowTrain(TrainTransform):
    """The training crop by Pillow, whatever is compiled."""

    def __call__(self, image: Decoded, rng: random.Random, out: Pixels | None = None) -> Pixels:
        """(size, size, 3) uint8."""
        image = image if isinstance(image, Image.Image) else Image.fromarray(np.ascontiguousarray(image))
        pixels = np.asarray(image.resize((self.size,) * 2, Image.Resampling.BICUBIC, box=self._crop(*image.size, rng)))
        out = np.empty_like(pixels) if out is None else out
        np.copyto(out, pixels[:, ::-1] if self.flip and rng.random() < 0.5 else pixels)
        return out


@dataclass(frozen=True, slots=True)
class PillowEval(EvalTransform):
    """The evaluation crop by Pillow, whatever is compiled."""

    def __call__(self, image: Decoded, out: Pixels | None = None) -> Pixels:
        """(size, size, 3) uint8."""
        assert isinstance(image, Image.Image)
        short = min(image.size)
        left, top = (image.size[0] - short * 7 / 8) / 2, (image.size[1] - short * 7 / 8) / 2
        box = (left, top, left + short * 7 / 8, top + short * 7 / 8)
        pixels = np.asarray(image.resize((self.size,) * 2, Image.Resampling.BICUBIC, box=box))
        out = np.empty_like(pixels) if out is None else out
        np.copyto(out, pixels)
        return out


Batches = Callable[[], Iterator[RawBatch]]


def ways(prepared: Prepared, cache: PixelCache) -> tuple[dict[str, Batches], dict[str, Batches]]:
    """Name -> `PASSES` passes over all images: to train, and to evaluate. The first way of each is Pillow's."""
    images = samples(prepared, "all", "train")
    ours, finish = TrainTransform(SIZE, (0.08, 1.0), flip=True), EvalTransform("lipsum", SIZE)

    def train(transform: TrainTransform, reader: Callable[..., Decoded]) -> Batches:
        stream = TrainStream(samples=images, transform=transform, seed=0, global_batch_size=BATCH, reader=reader)
        return lambda: stream.batches(0, PASSES * len(images) // BATCH)

    def evaluation(transform: EvalTransform | FinishedTransform, reader: Callable[..., Decoded]) -> Batches:
        return lambda: iter(
            EvalStream(samples=[*images] * PASSES, transform=transform, batch_size=BATCH, reader=reader)
        )

    pillow = PillowTrain(SIZE, (0.08, 1.0), flip=True)
    trained = {
        "streamed, Pillow": train(pillow, lambda sample: decode(sample.read())),
        "streamed, fast decoder, Pillow's resize": train(pillow, lambda sample: decode_fast(sample.read())),
        "streamed": train(ours, lambda sample: decode_fast(sample.read())),
        "cached, Pillow's resize": train(pillow, cache.reader(prepared, images)),
        "cached": train(ours, cache.reader(prepared, images)),
    }
    evaluated = {
        "streamed, Pillow": evaluation(PillowEval("lipsum", SIZE), lambda sample: decode(sample.read())),
        "streamed": evaluation(finish, lambda sample: decode_fast(sample.read())),
        "cached": evaluation(FinishedTransform(SIZE), cache.reader(prepared, images, finish)),
    }
    return trained, evaluated


def seconds(batches: Batches) -> float:
    """CPU time of the passes."""
    began = time.process_time()
    for _ in batches():
        pass
    return time.process_time() - began


def same(first: Batches, other: Batches) -> bool:
    """Whether two ways give the same pixels."""
    return all(torch.equal(a.images, b.images) for a, b in zip(first(), other(), strict=True))


def main(count: int = 256, rounds: int = 5) -> None:
    """Print microseconds an image and ratios to Pillow."""
    count -= count % BATCH
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        prepared = write_prepared(Photographs(count), Path(folder) / "photographs", source=None)
        began = time.process_time()
        if not resample.compile_now():
            sys.exit("the compiled resize does not agree with this Pillow")
        size = sum(shard.bytes for shard in prepared.shards) / count / 1000
        load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
        print(f"{count} images, {size:.0f} kB each; {platform.machine()}, load average {load}")
        print(f"compiling the resize, once a process: {time.process_time() - began:.1f} s")
        print(f"checking a cached image, once a process and image: {checking(prepared):.0f} us")
        trained, evaluated = ways(prepared, PixelCache(64 * GIB, Path(folder) / "pixels"))
        compare("training", trained, count, rounds)
        compare("evaluation", evaluated, count, rounds)


def compare(title: str, found: dict[str, Batches], count: int, rounds: int) -> None:
    """Check that all ways give the same pixels, which fills the cache, and time them in turns."""
    pillow = next(iter(found.values()))
    for name, way in found.items():
        if not same(pillow, way):
            sys.exit(f"{title}, {name}: not the pixels of Pillow")
    spent: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(rounds):
        for name, way in found.items():
            spent[name].append(seconds(way) / (PASSES * count) * 1e6)
    median = {name: statistics.median(times) for name, times in spent.items()}
    base = next(iter(spent.values()))
    for name, value in median.items():
        ratio = statistics.median(slow / fast for slow, fast in zip(base, spent[name], strict=True))
        print(f"{title}, {name:42}{value:8.0f} us an image {1e6 / value:8.0f} images/s {ratio:7.1f} x")


def checking(prepared: Prepared) -> float:
    """Microseconds for the checksum of an image."""
    image = as_array(decode(samples(prepared, "all", "train")[0].read()))
    began = time.process_time()
    for _ in range(200):
        zlib.crc32(image.data)
    return (time.process_time() - began) / 200 * 1e6


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
