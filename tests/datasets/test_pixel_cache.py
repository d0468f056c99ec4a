"""Whatever happens to the cache of decoded pixels, what comes out of it is what was decoded, or nothing."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from datasets import pixel_file, resample, stream
from datasets.pixel_cache import GIB, PixelCache
from datasets.pixel_file import PixelFile
from datasets.shards import Prepared
from datasets.stream import EvalStream, TrainStream, read_image, samples
from datasets.transforms import EvalTransform, FinishedTransform, TrainTransform
from orchestrator.manifest_schema import Resources
from orchestrator.records import Results
from orchestrator.run import Flags, _options
from orchestrator.trial import run_trial
from tests.datasets.pixel_filler import picture
from tests.datasets.test_stream import pixel_hash
from tests.orchestrator.trials import planned
from training.runtime import Runtime

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


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch):
    def forbid() -> None:
        def decode(data: bytes):
            raise AssertionError("an image was decoded again")

        monkeypatch.setattr(stream, "decode_fast", decode)

    return forbid


@pytest.mark.parametrize("compiled", [False, True])
def test_cold_and_warm_caches_give_the_pixels_of_no_cache(
    blobs: Prepared, tmp_path: Path, no_decoding, monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    kernel = resample._Kernel()
    monkeypatch.setattr(resample, "_KERNEL", kernel)
    expected = train_hash(blobs, None), eval_hash(blobs, None)  # by Pillow
    if compiled:
        assert kernel.build()
    cold = PixelCache(GIB, tmp_path)
    assert (train_hash(blobs, cold), eval_hash(blobs, cold)) == expected
    no_decoding()
    assert (train_hash(blobs, cold), eval_hash(blobs, cold)) == expected
    assert (train_hash(blobs, PixelCache(GIB, tmp_path)), eval_hash(blobs, PixelCache(GIB, tmp_path))) == expected


def test_several_domains_and_foreign_samples_share_a_stream(blobs: Prepared, tmp_path: Path) -> None:
    images = samples(blobs, "disc", "train")[::7] + samples(blobs, "ring", "train")[::7]
    cache = PixelCache(GIB, tmp_path)
    for _ in range(2):
        reader = cache.reader(blobs, images)
        assert all(np.array_equal(np.asarray(reader(s)), np.asarray(read_image(s))) for s in images)
        foreign = samples(blobs, "box", "train")[0]
        assert np.array_equal(np.asarray(reader(foreign)), np.asarray(read_image(foreign)))
    assert len(list(tmp_path.glob("*.pixels"))) == 2


def test_other_sizes_and_preprocessings_are_other_files(blobs: Prepared, tmp_path: Path) -> None:
    images, cache = samples(blobs, "disc", "test"), PixelCache(GIB, tmp_path)
    for finish in (EVALUATION, EvalTransform("openai", 16), EvalTransform("lipsum", 8), None):
        reader = cache.reader(blobs, images, finish)
        for _ in range(2):
            expected = read_image(images[0]) if finish is None else finish(read_image(images[0]))
            assert np.array_equal(np.asarray(reader(images[0])), np.asarray(expected))
    assert len(list(tmp_path.glob("*.pixels"))) == 4


def test_too_small_a_limit_turns_it_off_and_says_so_once(
    blobs: Prepared, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = PixelCache(10 * EACH, tmp_path)
    assert [train_hash(blobs, cache), train_hash(blobs, cache)] == [train_hash(blobs, None)] * 2
    [line] = caplog.messages
    assert "pixel cache off for decoded pixels of blobs disc/train: it needs" in line
    assert "--cache-gib allows" in line
    assert cache.lines == (line,)
    cache.begin()
    assert cache.lines == ()
    assert not list(tmp_path.glob("*.pixels"))


def test_a_larger_limit_turns_it_on(blobs: Prepared, tmp_path: Path, no_decoding) -> None:
    expected = train_hash(blobs, None)
    train_hash(blobs, PixelCache(10 * EACH, tmp_path))
    assert train_hash(blobs, PixelCache(GIB, tmp_path)) == expected
    no_decoding()
    assert train_hash(blobs, PixelCache(GIB, tmp_path)) == expected


def test_it_stops_at_the_limit_if_images_are_larger_than_was_estimated(
    blobs: Prepared, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.pixel_cache.image_size", lambda data: (18, 18))
    cache = PixelCache(8192 + 12 * EACH, tmp_path)
    assert [train_hash(blobs, cache), train_hash(blobs, cache)] == [train_hash(blobs, None)] * 2
    assert 10 * EACH <= content(tmp_path) <= cache.limit
    assert ["(--cache-gib) is reached" in line for line in caplog.messages] == [True]


def test_room_is_made_of_what_is_unused_the_oldest_first(blobs: Prepared, tmp_path: Path) -> None:
    limit = 3 * (8192 + 30 * EACH)
    for age, domain in enumerate(("disc", "box", "ring")):
        cache = PixelCache(limit, tmp_path)
        train_hash(blobs, cache, domain)
        [used] = [used for used in tmp_path.glob("*.used") if time.time() - used.stat().st_mtime < 1000]
        os.utime(used, (time.time() - 5000 + 1000 * age,) * 2)
        del cache
    before = set(tmp_path.glob("*.pixels"))
    oldest = min(before, key=lambda path: path.with_suffix(".used").stat().st_mtime)
    eval_hash(blobs, PixelCache(limit, tmp_path))
    after = set(tmp_path.glob("*.pixels"))
    assert before - after == {oldest}
    assert len(after) == 3


def test_what_somebody_uses_is_kept(blobs: Prepared, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    limit = 8192 + 32 * EACH
    busy = PixelCache(limit, tmp_path)
    train_hash(blobs, busy)
    other = PixelCache(limit, tmp_path)
    assert train_hash(blobs, other, "ring") == train_hash(blobs, None, "ring")
    assert "are in use" in caplog.text
    assert len(list(tmp_path.glob("*.pixels"))) == 1
    del busy  # at once: no cycle keeps its lock until a garbage collection
    train_hash(blobs, other, "ring")
    [left] = tmp_path.glob("*.pixels")
    assert left.stat().st_size > 8192 + 20 * EACH
    other.begin()
    train_hash(blobs, other, "box")  # its own file of the trial before goes, too
    assert len(list(tmp_path.glob("*.pixels"))) == 1


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


def test_a_folder_that_cannot_be_used_turns_it_off(
    blobs: Prepared, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    assert train_hash(blobs, PixelCache(GIB, tmp_path / "file")) == train_hash(blobs, None)
    assert "cannot be used" in caplog.text


def test_a_full_disk_ends_the_filling(
    blobs: Prepared, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: memoryview, place: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pixel_file, "_write", full)
    assert train_hash(blobs, PixelCache(GIB, tmp_path)) == train_hash(blobs, None)
    assert ["No space left" in line for line in caplog.messages] == [True]


class TestDamage:
    """`PixelFile`: damage is noticed, counts as missing, and is repaired by adding the image again."""

    COUNT = 20

    def filled(self, path: Path) -> PixelFile:
        file = PixelFile(path, self.COUNT, columns=True)
        for key in range(1, self.COUNT + 1):
            assert file.put(key, picture(key), lambda size: True)
        return file

    def right(self, file: PixelFile) -> list[bool | None]:
        """For each image: whether it is right; None if it is missing."""
        found = [file.get(key) for key in range(1, self.COUNT + 1)]
        return [None if f is None else np.array_equal(f, picture(k)) for k, f in enumerate(found, start=1)]

    @pytest.mark.parametrize("seed", range(4))
    def test_flipped_bytes(self, tmp_path: Path, seed: int) -> None:
        self.filled(tmp_path / "a.pixels")
        rng, size = random.Random(seed), (tmp_path / "a.pixels").stat().st_size
        with (tmp_path / "a.pixels").open("r+b") as damaged:
            for _ in range(30):
                place = rng.randrange(4096 if seed % 2 else 8192, size)
                damaged.seek(place)
                byte = damaged.read(1)[0]
                damaged.seek(place)
                damaged.write(bytes([byte ^ 255]))
        file = PixelFile(tmp_path / "a.pixels", self.COUNT, columns=True)
        assert None in self.right(file)
        assert False not in self.right(file)
        for key in range(1, self.COUNT + 1):
            if file.get(key) is None:
                assert file.put(key, picture(key), lambda size: True)
        assert self.right(file) == [True] * self.COUNT
        assert self.right(PixelFile(tmp_path / "a.pixels", self.COUNT, columns=True)) == [True] * self.COUNT

    @pytest.mark.parametrize("length", [0, 10, 5000, 8192, 20_000, 100_000])
    def test_a_shortened_file(self, tmp_path: Path, length: int) -> None:
        self.filled(tmp_path / "a.pixels")
        os.truncate(tmp_path / "a.pixels", length)
        file = PixelFile(tmp_path / "a.pixels", self.COUNT, columns=True)
        assert None in self.right(file)
        assert False not in self.right(file)
        for key in range(1, self.COUNT + 1):
            assert file.put(key, picture(key), lambda size: True)
        later = PixelFile(tmp_path / "a.pixels", self.COUNT, columns=True)
        for key in range(1, self.COUNT + 1):  # places behind the old end have got other images meanwhile
            if later.get(key) is None:
                later.put(key, picture(key), lambda size: True)
        assert self.right(later) == [True] * self.COUNT

    def test_pixels_that_never_reached_the_disk(self, tmp_path: Path) -> None:
        """After a crash of the machine: entries are there, pixels are zeros."""
        self.filled(tmp_path / "a.pixels")
        size = (tmp_path / "a.pixels").stat().st_size
        os.truncate(tmp_path / "a.pixels", 30_000)
        os.truncate(tmp_path / "a.pixels", size)
        assert set(self.right(PixelFile(tmp_path / "a.pixels", self.COUNT, columns=True))) == {True, None}

    def test_a_file_of_another_kind_is_made_anew(self, tmp_path: Path) -> None:
        self.filled(tmp_path / "a.pixels")
        (tmp_path / "b.pixels").write_bytes(b"something else" * 10_000)
        for path, columns in (("a.pixels", False), ("b.pixels", True)):
            file = PixelFile(tmp_path / path, self.COUNT, columns=columns)
            assert self.right(file) == [None] * self.COUNT
            file.put(1, picture(1), lambda size: True)
            assert self.right(file)[:2] == [True, None]

    def test_images_added_by_others_are_seen_and_mapped(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pixel_file, "REMAP_AFTER", 7)
        reader = PixelFile(tmp_path / "a.pixels", self.COUNT, columns=True)
        assert self.right(reader) == [None] * self.COUNT
        self.filled(tmp_path / "a.pixels")
        before = len(reader._map)
        assert self.right(reader) == [True] * self.COUNT
        assert len(reader._map) > before

    @pytest.mark.parametrize("byte", range(32))
    def test_an_entry_that_is_half_written(self, tmp_path: Path, byte: int) -> None:
        """Each byte of an entry matters: changed, the image is missing, and never one of another shape or place."""
        path, found = tmp_path / "a.pixels", PixelFile(tmp_path / "a.pixels", 2, columns=True)
        picture_twice = np.concatenate([picture(1), picture(1)])  # equal bytes at another place and in another shape
        found.put(1, picture_twice, lambda size: True)
        table = 4096
        data = path.read_bytes()
        [at] = [i for i in range(table, 8192, 32) if any(data[i : i + 32])]
        with path.open("r+b") as file:
            file.seek(at + byte)
            file.write(bytes([data[at + byte] ^ 1]))
        damaged = PixelFile(path, 2, columns=True)
        slots = [i for i in range(16) if damaged._is_whole(i) and any(data[table + 32 * i : table + 32 * i + 32])]
        assert slots == []
        assert damaged.get(1) is None
        assert damaged.put(1, picture_twice, lambda size: True)
        again = PixelFile(path, 2, columns=True).get(1)
        assert again is not None
        assert np.array_equal(again, picture_twice)

    def test_an_entry_of_another_shape_is_not_believed(self, tmp_path: Path) -> None:
        """Height and width changed places: the pixels' own checksum still holds, only the entry's does not."""
        path, image = tmp_path / "a.pixels", picture(1)
        PixelFile(path, 2).put(1, image, lambda size: True)
        data = bytearray(path.read_bytes())
        [at] = [i for i in range(4096, 8192, 32) if any(data[i : i + 32])]
        data[at + 16 : at + 20], data[at + 20 : at + 24] = data[at + 20 : at + 24], data[at + 16 : at + 20]
        path.write_bytes(data)
        assert PixelFile(path, 2).get(1) is None

    def test_an_image_is_kept_once(self, tmp_path: Path) -> None:
        file = self.filled(tmp_path / "a.pixels")
        size = (tmp_path / "a.pixels").stat().st_size
        assert file.put(3, picture(3), lambda size: False)
        assert PixelFile(tmp_path / "a.pixels", self.COUNT, columns=True).put(4, picture(4), lambda size: False)
        assert (tmp_path / "a.pixels").stat().st_size == size


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


def test_a_trial_is_the_same_with_a_cache_cold_and_warm(
    blobs: Prepared, tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBUST_FT_BENCH_CACHE", str(tmp_path / "node"))
    trial = planned(blobs, tiny_config, "ft")
    records, weights = [], []
    for number, gib in enumerate((0.0, 1.0, 1.0)):
        results = Results(tmp_path / str(number))
        records.append(run_trial(trial, results, Runtime(cache_gib=gib), attempt=1))
        weights.append((results.trial(trial.id) / "model.safetensors").read_bytes())
        assert len(list((tmp_path / "node").glob("pixels/*.pixels"))) == (5 if gib else 0)
    assert records[0].evaluations == records[1].evaluations == records[2].evaluations
    assert weights[0] == weights[1] == weights[2]


def test_the_flag_wins_over_the_manifest(tmp_path: Path) -> None:
    given = Resources(cache_gib=2.5)
    manifest = type("Given", (), {"resources": given})()
    assert _options(manifest, Flags()).cache_gib == 2.5
    assert _options(manifest, Flags(cache_gib=0.0)).cache_gib == 0.0
    assert _options(type("Given", (), {"resources": Resources()})(), Flags()).cache_gib == 0.0
