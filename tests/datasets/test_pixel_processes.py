"""Several processes on one file of pixels: together, killed, and with the file deleted under them."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from datasets.pixel_cache import GIB, PixelCache
from datasets.pixel_file import PixelFile
from datasets.shards import Prepared
from datasets.stream import TrainStream, samples
from datasets.transforms import TrainTransform
from tests.datasets.pixel_filler import picture
from tests.datasets.pixel_streams import EACH, content, train_hash
from tests.datasets.test_stream import pixel_hash


def test_it_may_be_deleted_while_a_stream_runs(blobs: Prepared, tmp_path: Path) -> None:
    images, folder = samples(blobs, "disc", "train"), tmp_path / "pixels"
    cache = PixelCache(GIB, folder)
    made = TrainStream(
        samples=images,
        transform=TrainTransform(16, (0.3, 1.0), flip=True),
        seed=3,
        global_batch_size=12,
        reader=cache.reader(blobs, images),
    )
    batches = []
    for number, batch in enumerate(made.batches(0, 6)):
        batches.append(batch)
        if number in (0, 3):
            shutil.rmtree(folder, ignore_errors=True)
    assert pixel_hash(batches) == train_hash(blobs, None)
    cache.begin()
    assert train_hash(blobs, cache) == train_hash(blobs, None)
    assert content(folder) >= 30 * EACH


class TestProcesses:
    COUNT = 400

    def filler(self, path: Path, seed: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.datasets.pixel_filler", str(path), str(self.COUNT), str(seed)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def missing(self, path: Path) -> int:
        """Images that are not there; each one that is there is right."""
        file, absent = PixelFile(path, self.COUNT, columns=True), 0
        for key in range(1, self.COUNT + 1):
            found = file.get(key)
            absent += found is None
            assert found is None or np.array_equal(found, picture(key))
        return absent

    def begin(self, filler: subprocess.Popen[str]) -> None:
        assert filler.stdin
        filler.stdin.write("go\n")
        filler.stdin.flush()

    @pytest.mark.parametrize("attempt", range(3))
    def test_two_fill_the_same_file_while_others_read(self, tmp_path: Path, attempt: int) -> None:
        path = tmp_path / "a.pixels"
        fillers = [self.filler(path, seed) for seed in (2 * attempt, 2 * attempt + 1)]
        for filler in fillers:
            assert filler.stdout
            filler.stdout.readline()
        empty = path.stat().st_size
        for filler in fillers:
            self.begin(filler)
        while any(filler.poll() is None for filler in fillers):
            self.missing(path)
        assert [filler.communicate()[0].split() for filler in fillers] == [["filled"]] * 2
        assert self.missing(path) == 0
        pixels = sum(picture(key).nbytes for key in range(1, self.COUNT + 1))
        assert path.stat().st_size == empty + pixels, "something was stored twice"

    def test_killed_at_any_moment(self, tmp_path: Path) -> None:
        path, left, partial = tmp_path / "a.pixels", self.COUNT, 0
        for seed in range(6):
            filler = self.filler(path, seed)
            assert filler.stdout
            filler.stdout.readline()
            self.begin(filler)
            time.sleep(random.Random(seed).uniform(0, 0.03))
            filler.kill()
            filler.communicate()
            now = self.missing(path)
            assert now <= left, "something was lost"
            partial += 0 < now < self.COUNT
            left = now
        assert partial, "no kill met a file that was half filled"
        filler = self.filler(path, 9)
        assert filler.communicate("go\n")[0].split() == ["started", "filled"]
        assert self.missing(path) == 0
