"""Images a second of `prepare`, and of the bare work that it cannot do without, on the same images and one core.

    python -m perf.prepare                          # 500-pixel JPEGs reduced to 256, and kept as they are
    python -m perf.prepare --images 2000 --workers 4

Bare work is a loop that reads a file, decodes it (with the fastest decoder that is installed), resizes and encodes it with
Pillow; for images that are kept it reads and decodes. `prepare` does that and lists, checks, hashes, writes and syncs
shards. All take turns in one process, and medians of its CPU seconds and of the time on the clock are printed; on a shared
machine the ratio of CPU seconds is the one to trust. With `--workers` that many processes are timed too, by the clock alone
and against one core's bare work; shards are then made small enough to give each process several.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from datasets import shard_file
from datasets.base import Dataset, Entry, Published
from datasets.images import JPEG_QUALITY
from datasets.parallel import in_process, processes
from datasets.shards import write_prepared
from perf.generated import generated_info

SIDE = (500, 375)
SHORT_SIDE = 256


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


def measured(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """Median (CPU seconds of this process, seconds) of each, all of them in turn in every round."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            started = time.process_time(), time.perf_counter()
            run()
            seconds[name].append((time.process_time() - started[0], time.perf_counter() - started[1]))
    return {name: tuple(map(statistics.median, zip(*times, strict=True))) for name, times in seconds.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=0)
    args = parser.parse_args()
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


def report(root: Path, paths: Sequence[Path], short_side: int | None, rounds: int, workers: int) -> None:
    """One table: the bare work with each decoder, then `prepare`, with its share of the fastest bare work."""
    runs, per_shard = 0, shard_file.MAX_SAMPLES

    def prepare(source: Path, count: int) -> None:
        nonlocal runs
        runs += 1
        runner = in_process if count == 1 else processes(count)
        shard_file.MAX_SAMPLES = per_shard if count == 1 else max(1, len(paths) // (4 * count))
        write_prepared(Photos(len(paths)), root / f"out{short_side}-{runs}", source, short_side, runner=runner)

    contestants: dict[str, Callable[[], object]] = {
        f"bare, {name}": lambda decode=decode: bare(paths, decode, short_side) for name, decode in decoders().items()
    }
    contestants["prepare, folder"] = lambda: prepare(root / "photos", 1)
    contestants["prepare, zip"] = lambda: prepare(root / "photos.zip", 1)
    if workers > 1:
        contestants[f"prepare, folder, {workers} processes"] = lambda: prepare(root / "photos", workers)
    seconds = measured(contestants, rounds)
    fastest = [min(times[k] for name, times in seconds.items() if name.startswith("bare")) for k in (0, 1)]
    print(
        f"\n{f'reduced to {short_side}' if short_side else 'kept as published':34} images/CPU s  ratio   images/s  ratio"
    )
    for name, times in seconds.items():
        cells = [f"{len(paths) / time:12.0f} {best / time:6.2f}" for time, best in zip(times, fastest, strict=True)]
        if "processes" in name:
            cells[0] = " " * len(cells[0])
        print(f"  {name:32} {'  '.join(cells)}")


if __name__ == "__main__":
    main()
