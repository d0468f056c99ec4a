"""What the cache of pixels does where it may not or cannot write: limits, disks, folders, files of others."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from datasets import pixel_cache, pixel_file
from datasets.pixel_cache import GIB, PixelCache
from datasets.shards import Prepared
from tests.datasets.pixel_streams import EACH, content, eval_hash, train_hash


def test_too_small_a_limit_turns_it_off_and_says_so_once(
    blobs: Prepared, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = PixelCache(10 * EACH, tmp_path)
    assert [train_hash(blobs, cache), train_hash(blobs, cache)] == [train_hash(blobs, None)] * 2
    [line] = caplog.messages
    assert line.startswith("pixel cache off for blobs disc/train: it needs 0.111 MiB for decoded pixels, ")
    assert "--cache-gib allows 0.0371 MiB; run with --cache-gib 0.1 or more" in line
    assert cache.lines == (line,)
    cache.begin()
    assert cache.lines == ()
    train_hash(blobs, cache)
    assert cache.lines == (line,) and caplog.messages == [line] * 2, "once for each trial, in its own log"
    assert not list(tmp_path.glob("*.pixels"))


def test_it_stops_at_the_limit_if_images_are_larger_than_was_estimated(
    blobs: Prepared, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.pixel_cache.read_size", lambda sample: (18, 18))
    cache = PixelCache(8192 + 12 * EACH, tmp_path)
    assert [train_hash(blobs, cache), train_hash(blobs, cache)] == [train_hash(blobs, None)] * 2
    assert 10 * EACH <= content(tmp_path) <= cache.limit
    [line] = caplog.messages
    assert line.startswith("pixel cache full for blobs disc/train: the limit of ")
    assert line.endswith(" MiB (--cache-gib) is reached; more of its images are not kept")
    cache.begin()
    train_hash(blobs, cache)
    assert cache.lines == (line,)


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


def test_files_of_another_user_are_not_ours_to_delete(
    blobs: Prepared, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 8192 + 40 * EACH
    train_hash(blobs, PixelCache(limit, tmp_path))
    [theirs] = tmp_path.glob("*.pixels")
    real = os.open

    def refused(path, *rest, **named):
        if Path(path) == theirs.with_suffix(".used"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *rest, **named)

    monkeypatch.setattr(os, "open", refused)
    assert train_hash(blobs, PixelCache(limit, tmp_path), "ring") == train_hash(blobs, None, "ring")
    assert theirs.exists()
    [line] = caplog.messages
    assert "are in use" in line


def test_a_file_that_cannot_be_opened_leaves_no_lock_behind(
    blobs: Prepared, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train_hash(blobs, PixelCache(GIB, tmp_path))
    [path] = tmp_path.glob("*.pixels")
    path.unlink()
    path.mkdir()
    cache = PixelCache(GIB, tmp_path)
    assert train_hash(blobs, cache) == train_hash(blobs, None)
    assert "cannot be used" in caplog.text
    path.rmdir()
    path.touch()
    assert pixel_cache._delete_unused(path), "somebody still holds the lock"


def test_a_folder_that_may_only_be_read_turns_it_off(
    blobs: Prepared, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = train_hash(blobs, PixelCache(GIB, tmp_path))
    real = os.open

    def refused(path, flags, *rest, **named):
        if flags & (os.O_RDWR | os.O_CREAT):
            raise OSError(30, "Read-only file system", str(path))
        return real(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", refused)
    cache = PixelCache(GIB, tmp_path)
    assert [train_hash(blobs, cache), train_hash(blobs, cache)] == [expected] * 2
    [line] = caplog.messages
    assert "pixel cache off" in line
    assert "Read-only" in line
