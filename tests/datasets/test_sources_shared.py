"""Archives that several threads and processes read: decompressed once, and read at the same time."""

from __future__ import annotations

import gzip
import multiprocessing
import os
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from datasets.base import Published
from datasets.sources import open_source, opened
from tests.datasets.test_sources import CONTENT, cache, in_tar, in_zip

__all__ = ["cache"]


def test_a_gzip_archive_is_decompressed_once_for_all_processes(tmp_path, cache):
    content = {f"{i}.bin": os.urandom(5000) for i in range(50)}
    path = in_tar(tmp_path / "a.tgz", content)
    with ProcessPoolExecutor(3, multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(read_all, [path] * 3))
        source = open_source(path)
        source.read("7.bin")  # an archive that is open here is opened again there
        found.append(pool.submit(read_all, source).result())
    assert all(one == content for one in found)
    (tar,) = (cache / "unpacked").glob("*.tar")
    assert tar.read_bytes() == gzip.decompress(path.read_bytes()) and not list(cache.rglob("*.part"))
    before = tar.stat().st_ino
    assert read_all(path) == content and tar.stat().st_ino == before
    tar.unlink()
    assert open_source(path).read("7.bin") == content["7.bin"], "whoever has it open keeps it"


def test_what_a_killed_process_left_is_decompressed_anew(tmp_path, cache):
    path = in_tar(tmp_path / "a.tgz")
    open_source(path)
    (tar,) = (cache / "unpacked").glob("*.tar")
    tar.with_suffix(".part").write_bytes(tar.read_bytes()[:3000])
    tar.unlink()
    opened._opened.cache_clear()
    assert read_all(path) == {name: CONTENT[name] for name in sorted(CONTENT)}
    assert tar.is_file() and not tar.with_suffix(".part").exists()


def test_what_was_decompressed_long_ago_is_removed(tmp_path, cache):
    open_source(in_tar(tmp_path / "old.tgz"))
    (old,) = (cache / "unpacked").glob("*.tar")
    left = old.with_suffix(".part")
    left.write_bytes(b"of a process that was killed")
    for path in (old, left):
        os.utime(path, (time.time() - 30 * 86400,) * 2)
    open_source(in_tar(tmp_path / "new.tgz"))
    assert len(list((cache / "unpacked").glob("*.tar"))) == 1 and not old.exists() and not left.exists()


def read_all(path: Path | Published) -> dict[str, bytes]:
    source = open_source(path) if isinstance(path, Path) else path
    return {name: source.read(name) for name in source.below("")}


@pytest.mark.parametrize("make", [in_tar, in_zip])
def test_threads_and_forked_processes_read_one_archive_at_once(tmp_path, make):
    content = {f"{i % 7}/{i}.bin": os.urandom(3000 + i) for i in range(120)}
    path = make(tmp_path / ("a.tar" if make is in_tar else "a.zip"), content)
    source = open_source(path)  # opened before the fork, so that the processes share its file
    barrier = threading.Barrier(4)

    def check(order: int) -> int:
        barrier.wait()
        return sum(source.read(name) == content[name] for name in list(content)[::order] * 3)

    context = multiprocessing.get_context("fork")
    children = [context.Process(target=read_and_exit, args=(source, content, order)) for order in (1, -1)]
    for child in children:
        child.start()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(check, (1, -1, 1, -1))) == [360] * 4
    for child in children:
        child.join(30)
        assert child.exitcode == 0


def read_and_exit(source: Published, content: dict[str, bytes], order: int) -> None:
    names = list(content)[::order] * 3
    os._exit(0 if all(source.read(name) == content[name] for name in names) else 1)
