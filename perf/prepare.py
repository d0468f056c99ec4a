"""Images a second of `prepare`, and of the bare work that it cannot do without, on the same images.

    python -m perf.prepare                     # under three minutes: 500-pixel JPEGs reduced to 256, and kept as they are
    python -m perf.prepare --images 4000 --workers 4

Bare work is a loop that reads a file, decodes it (with the fastest decoder that is installed), resizes and encodes it with
Pillow; for images that are kept it reads and decodes. `prepare` does that and lists, checks, hashes, writes and syncs
shards: in this process, and over `--workers` others. All take turns; medians are printed.

CPU seconds are those of all processes that work, from the moment each was forked, so the ratio of CPU seconds is what a core
achieves, whatever else the machine does; believe the clock on a quiet machine alone. What starting processes costs is
timed apart, with jobs that do nothing: the first time, with what all of them share, and again.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from datasets import shard_file
from datasets.base import Dataset, Entry, Published
from datasets.images import JPEG_QUALITY
from datasets.parallel import JobTick, Runner, Tick, available_cores, in_process, processes
from datasets.shards import write_prepared
from perf.generated import generated_info

SIDE = (500, 375)
SHORT_SIDE = 256
SHARDS_A_WORKER = 4

Seconds = tuple[float, float]
"""(CPU of all processes, clock)"""


class Photos(Dataset):
    """Generated JPEGs in a folder or a zip."""

    def __init__(self, count: int) -> None:
        self.info = generated_info("photos", count)

    def entries(self, domain: str, split: str, source: Published | None) -> Sequence[Entry]:
        """All of them."""
        assert source is not None
        return [Entry(path[:-4], 0, path, source.size(path)) for path in source.below("")]


def make_photos(folder: Path, count: int) -> list[Path]:
    """JPEGs of some 60 kB with the smooth areas and the grain of photographs."""
    rng, paths = np.random.default_rng(0), []
    folder.mkdir()
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(
            SIDE, Image.Resampling.BICUBIC
        )
        grain = rng.normal(0, 9, (SIDE[1], SIDE[0], 1))
        pixels = np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)
        paths.append(folder / f"{number:06d}.jpg")
        Image.fromarray(pixels).save(paths[-1], quality=85)
    return paths


def pillow_decode(data: bytes) -> Image.Image:
    """As `prepare` does it."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def decoders() -> dict[str, Callable[[bytes], Image.Image]]:
    """The JPEG decoders that are installed."""
    found: dict[str, Callable[[bytes], Image.Image]] = {"Pillow": pillow_decode}
    try:
        import simplejpeg
    except ImportError:
        return found
    found["simplejpeg"] = lambda data: Image.fromarray(simplejpeg.decode_jpeg(data))
    return found


def bare(paths: Sequence[Path], decode: Callable[[bytes], Image.Image], short_side: int | None) -> int:
    """The work itself; returns the bytes that come out, so that nothing is left out."""
    size = 0
    for path in paths:
        data = path.read_bytes()
        image = decode(data)
        if short_side is not None and min(image.size) > short_side:
            scale = short_side / min(image.size)
            image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=JPEG_QUALITY)
            data = buffer.getvalue()
        size += len(data)
    return size


@dataclass(frozen=True, slots=True)
class Metered:
    """A function for a runner that also says which process it ran in, and the CPU seconds of that since it was forked."""

    work: Callable[[Any, Tick], Any]

    def __call__(self, job: Any, tick: Tick) -> tuple[Any, int, float]:
        """The result, the process and its seconds."""
        result = self.work(job, tick)
        return result, os.getpid(), time.process_time()


@dataclass(frozen=True, slots=True)
class Meeting:
    """A job that does nothing but wait in `folder` until `count` processes are there, each with a job of its own."""

    folder: Path
    count: int

    def __call__(self, number: int, tick: Tick) -> None:
        """Come and wait."""
        (self.folder / str(number)).touch()
        while len(list(self.folder.iterdir())) < self.count:
            time.sleep(0.001)


def metered(runner: Runner, spent: dict[int, float]) -> Runner:
    """`runner`, which notes the CPU seconds of its processes, beginning with their start, in `spent`."""

    def run(
        work: Callable[[Any, Tick], Any], jobs: Sequence[Any], tick: JobTick
    ) -> Generator[tuple[int, Any], None, None]:
        for number, (result, process, seconds) in runner(Metered(work), jobs, tick):
            spent[process] = max(spent.get(process, 0.0), seconds)
            yield number, result

    return run


def start_of(workers: int) -> float:
    """Seconds by the clock until `workers` processes are all at work and have ended again."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        list(processes(workers)(Meeting(Path(folder), workers), range(workers), lambda number, images: None))
        return time.perf_counter() - started


def prepare(count: int, source: Path, to: Path, short_side: int | None, workers: int) -> float:
    """Prepare once, into a folder that is removed again; returns the CPU seconds of worker processes."""
    spent: dict[int, float] = {}
    runner = in_process if workers == 1 else metered(processes(workers), spent)
    write_prepared(Photos(count), to, source, short_side, runner=runner)
    shutil.rmtree(to)
    return sum(spent.values())


def measured(contestants: dict[str, Callable[[], float]], rounds: int) -> dict[str, Seconds]:
    """Medians of each contestant, which returns the CPU seconds of other processes; all take turns in every round."""
    seconds: dict[str, list[Seconds]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name in list(contestants)[:: 1 if number % 2 == 0 else -1]:
            started = time.process_time(), time.perf_counter()
            others = contestants[name]()
            seconds[name].append((time.process_time() - started[0] + others, time.perf_counter() - started[1]))
    return {
        name: (statistics.median(cpu for cpu, _ in times), statistics.median(clock for _, clock in times))
        for name, times in seconds.items()
    }


def report(root: Path, paths: Sequence[Path], short_side: int | None, rounds: int, workers: int) -> None:
    """One table: the bare work with each decoder, then `prepare`; ratios are to the fastest bare work."""

    def bare_work(decode: Callable[[bytes], Image.Image]) -> float:
        bare(paths, decode, short_side)
        return 0.0

    def contestant(source: str, count: int) -> Callable[[], float]:
        return lambda: prepare(len(paths), root / source, root / "out", short_side, count)

    contestants: dict[str, Callable[[], float]] = {
        f"bare, {name}": lambda decode=decode: bare_work(decode) for name, decode in decoders().items()
    }
    contestants |= {"prepare, zip": contestant("photos.zip", 1), "prepare, folder": contestant("photos", 1)}
    if workers > 1:
        contestants[f"prepare, folder, {workers} processes"] = contestant("photos", workers)
    seconds = measured(contestants, rounds)
    best = [min(times[k] for name, times in seconds.items() if name.startswith("bare")) for k in (0, 1)]
    what = f"reduced to {short_side}" if short_side else "kept as published"
    print(f"\n{what:34} images/CPU s  ratio   images/s  ratio")
    for name, (cpu, clock) in seconds.items():
        print(
            f"  {name:32} {len(paths) / cpu:12.0f} {best[0] / cpu:6.2f} {len(paths) / clock:10.0f} {best[1] / clock:6.2f}"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=available_cores())
    args = parser.parse_args()
    if args.workers > 1:
        first, again = start_of(args.workers), start_of(args.workers)
        print(f"start and end of {args.workers} processes: {first:.2f} s the first time, {again:.2f} s again")
    # The same shards for any number of processes, and several for each: a shard is the unit of work.
    shard_file.MAX_SAMPLES = min(shard_file.MAX_SAMPLES, max(1, args.images // (SHARDS_A_WORKER * args.workers)))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        paths = make_photos(root / "photos", args.images)
        with zipfile.ZipFile(root / "photos.zip", "w") as archive:
            for path in paths:
                archive.write(path, path.name)
        size = sum(path.stat().st_size for path in paths) / len(paths) / 1000
        print(f"{args.images} JPEGs of {SIDE[0]} x {SIDE[1]}, {size:.0f} kB on average; {args.rounds} rounds")
        for short_side in (SHORT_SIDE, None):
            report(root, paths, short_side, args.rounds, args.workers)


if __name__ == "__main__":
    main()
