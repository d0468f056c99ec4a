"""A training crop of a cached image by each library that could make it: `python -m perf.resize [CROPS] [ROUNDS]`.

CPU time of one thread, the median of rounds that take turns: random crops of images of 256 x 256 pixels resized to 224,
uint8 to uint8, bicubic and antialiased. Copying the crop alone is what no resize can go below.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch.nn import functional
from torchvision.transforms import v2

from datasets import resample
from datasets.transforms import TrainTransform

SIZE, STORED, IMAGES = 224, 256, 32


def main(crops: int = 256, rounds: int = 7) -> None:
    """Print microseconds a crop and ratios to Pillow."""
    torch.set_num_threads(1)
    if not resample.compile_now():
        sys.exit("the compiled resize does not agree with this Pillow")
    noise = np.random.default_rng(0).integers(0, 256, (IMAGES, 64, 64, 3), dtype=np.uint8)
    pillow = [Image.fromarray(n).resize((STORED, STORED), Image.Resampling.BICUBIC) for n in noise]
    rows = [np.array(i) for i in pillow]
    columns = [np.ascontiguousarray(i.transpose(1, 0, 2)).transpose(1, 0, 2) for i in rows]
    tensors = [torch.from_numpy(i).permute(2, 0, 1)[None] for i in rows]
    transform, rng = TrainTransform(SIZE, (0.08, 1.0), flip=True), random.Random(1)
    boxes = [transform._crop(STORED, STORED, rng) for _ in range(crops)]
    out = np.empty((SIZE, SIZE, 3), np.uint8)
    target = torch.from_numpy(out).permute(2, 0, 1)

    def with_pillow(i: int, left: int, top: int, right: int, bottom: int) -> None:
        made = pillow[i].resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=(left, top, right, bottom))
        np.copyto(out, np.asarray(made))

    def with_torch(i: int, left: int, top: int, right: int, bottom: int) -> None:
        part = tensors[i][:, :, top:bottom, left:right]
        target.copy_(functional.interpolate(part, size=(SIZE, SIZE), mode="bicubic", antialias=True)[0])

    def with_torchvision(i: int, left: int, top: int, right: int, bottom: int) -> None:
        size, bicubic = [SIZE, SIZE], v2.InterpolationMode.BICUBIC
        box = top, left, bottom - top, right - left
        target.copy_(v2.functional.resized_crop(tensors[i][0], *box, size, bicubic, antialias=True))

    def with_ours(i: int, left: int, top: int, right: int, bottom: int) -> None:
        resample.resize(columns[i], SIZE, (left, top, right, bottom), False, out)

    def copied(i: int, left: int, top: int, right: int, bottom: int) -> None:
        part = rows[i][top:bottom, left:right][:SIZE, :SIZE]
        out[: part.shape[0], : part.shape[1]] = part

    ways: dict[str, Callable[..., None]] = {
        "Pillow": with_pillow,
        "torch": with_torch,
        "torchvision": with_torchvision,
        "datasets.resample": with_ours,
        "the crop copied": copied,
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.process_time()
            for number, box in enumerate(boxes):
                way(number % IMAGES, *box)
            spent[name].append((time.process_time() - began) / crops * 1e6)
    median = {name: statistics.median(times) for name, times in spent.items()}
    for name, value in median.items():
        print(f"{name:20}{value:8.0f} us a crop {median['Pillow'] / value:7.1f} x")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
