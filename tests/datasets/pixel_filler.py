"""Run by tests as a process: adds images to a pixel file until it has them all, or is killed. PATH COUNT SEED"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np

from datasets.pixel_file import PixelFile


def picture(key: int) -> np.ndarray:
    """What belongs under a key; shapes and sizes differ."""
    return np.random.default_rng(key).integers(0, 256, (40 + key % 90, 30 + key % 70, 3), dtype=np.uint8)


def main(path: str, count: str, seed: str) -> None:
    file, keys = PixelFile(Path(path), int(count), columns=True), list(range(1, int(count) + 1))
    random.Random(int(seed)).shuffle(keys)
    sys.stdout.write("started\n")
    sys.stdout.flush()
    sys.stdin.readline()  # several begin at the same moment
    for key in keys:
        found = file.get(key)
        if found is None:
            file.put(key, picture(key), lambda size: True)
            found = file.get(key)
        assert found is not None
        assert np.array_equal(found, picture(key)), f"{key} is wrong"
    sys.stdout.write("filled\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
