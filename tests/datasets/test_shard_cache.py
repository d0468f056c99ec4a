"""The node's cache of shards: each fetched once, never torn, bounded, and never missed when it is gone."""

from __future__ import annotations

import gc
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from datasets import shard_cache
from datasets.shard_cache import RemoteShard
from tests.conftest import ROOT
from tests.datasets.faulty_server import FaultyServer, serving

SIZE = 20_480
FETCH = "import sys; from datasets import shard_cache as c; c.fetch(c.RemoteShard(*sys.argv[1:3], int(sys.argv[3])))"


@pytest.fixture
def many(tmp_path: Path, cache: Path) -> Iterator[tuple[FaultyServer, list[RemoteShard]]]:
    """Six files of SIZE bytes behind a server."""
    folder = tmp_path / "many"
    folder.mkdir()
    with serving(folder) as server:
        shards = []
        for number in range(6):
            data = bytes([number]) * SIZE
            (folder / f"{number}.tar").write_bytes(data)
            shards.append(RemoteShard(f"{server.url}/{number}.tar", hashlib.sha256(data).hexdigest(), SIZE))
        yield server, shards


def limit(monkeypatch: pytest.MonkeyPatch, shards: float) -> None:
    monkeypatch.setenv(shard_cache.LIMIT_VARIABLE, str(shards * SIZE / 2**30))


def here(shards: list[RemoteShard]) -> list[int]:
    """The numbers of those that lie whole on this machine."""
    return [n for n, shard in enumerate(shards) if shard.path.exists() and shard.path.stat().st_size == shard.bytes]


def read(shard: RemoteShard) -> bytes:
    descriptor = shard.open()
    try:
        return os.pread(descriptor, SIZE + 1, 0)
    finally:
        os.close(descriptor)


def start(shard: RemoteShard) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", FETCH, shard.url, shard.sha256, str(shard.bytes)], cwd=ROOT)


def wait_for(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


def test_threads_and_processes_fetch_a_shard_once(many) -> None:
    server, shards = many
    server.delay = 0.3
    processes = [start(shards[0]) for _ in range(2)]
    wait_for(lambda: server.requests["0.tar"])
    threads = [threading.Thread(target=shard_cache.fetch, args=(shards[0],)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait(30) for process in processes] == [0, 0]
    assert server.requests == {"0.tar": 1}
    assert read(shards[0]) == bytes(SIZE)


def test_a_killed_process_leaves_nothing_that_is_taken_for_a_shard(many, cache: Path) -> None:
    server, shards = many
    server.faults["1.tar"] = ["stall"]
    process = start(shards[1])
    wait_for(lambda: server.requests["1.tar"])
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    parts = list(cache.glob("*.part"))
    assert len(parts) == 1 and here(shards) == []
    assert read(shards[1]) == b"\1" * SIZE, "the lock went with its holder"
    os.utime(parts[0], (0, 0))
    shard_cache.fetch(shards[2])
    assert list(cache.glob("*.part")) == [], "what it left is removed once nobody can be writing it"


def test_over_the_limit_the_least_recently_used_shard_goes(many, monkeypatch: pytest.MonkeyPatch) -> None:
    server, shards = many
    limit(monkeypatch, 3)
    for number in (0, 1, 2):
        shard_cache.fetch(shards[number])
        os.utime(shards[number].path, (1000 + number, 1000 + number))
    shard_cache.fetch(shards[0])  # used again
    shard_cache.fetch(shards[3])
    assert here(shards) == [0, 2, 3]
    assert read(shards[1]) == b"\1" * SIZE, "fetched again"
    assert server.requests["1.tar"] == 2 and len(here(shards)) == 3


def test_a_held_shard_stays(many, monkeypatch: pytest.MonkeyPatch) -> None:
    _, shards = many
    limit(monkeypatch, 3)
    assert shard_cache.hold(shards[:2])
    assert not shard_cache.hold(shards[2:4]), "four do not fit"
    for shard in shards:
        shard_cache.fetch(shard)
    assert here(shards) == [0, 1, 5]


def test_what_nobody_uses_any_more_is_not_held(many, monkeypatch: pytest.MonkeyPatch) -> None:
    _, shards = many
    limit(monkeypatch, 2)
    copies = [RemoteShard(s.url, s.sha256, s.bytes) for s in shards[:2]]
    assert shard_cache.hold(copies) and not shard_cache.hold(shards[2:4])
    del copies
    gc.collect()
    assert shard_cache.hold(shards[2:4])


def test_a_shard_that_another_process_holds_stays_until_it_ends(many, monkeypatch: pytest.MonkeyPatch) -> None:
    _, shards = many
    limit(monkeypatch, 2)
    code = (
        "import sys; from datasets import shard_cache as c; s = c.RemoteShard(*sys.argv[1:3], int(sys.argv[3]));"
        "c.hold([s]); c.fetch(s); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, shards[0].url, shards[0].sha256, str(SIZE)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        for shard in shards[1:]:
            shard_cache.fetch(shard)
        assert here(shards) == [0, 5]
        process.kill()
    shard_cache.fetch(shards[1])
    assert here(shards) == [1, 5]


@pytest.mark.usefixtures("impatient")
def test_the_folder_may_be_deleted_at_any_time(many, cache: Path) -> None:
    server, shards = many
    assert shard_cache.hold(shards[:2])
    shard_cache.fetch(shards[0])
    shutil.rmtree(cache)
    assert read(shards[0]) == bytes(SIZE) and here(shards) == [0]
    server.faults["1.tar"] = ["stall"]
    thread = threading.Thread(target=shard_cache.fetch, args=(shards[1],))
    thread.start()
    wait_for(lambda: server.requests["1.tar"])
    shutil.rmtree(cache)
    thread.join()
    assert read(shards[1]) == b"\1" * SIZE
    assert shard_cache.hold(shards[:3]) and list(cache.glob("*.held"))


def test_a_shard_that_was_cut_in_the_cache_is_fetched_again(many) -> None:
    _, shards = many
    shard_cache.fetch(shards[3])
    os.truncate(shards[3].path, 100)
    assert read(shards[3]) == b"\3" * SIZE


def test_an_open_shard_can_be_read_when_it_is_removed(many) -> None:
    _, shards = many
    descriptor = shards[4].open()
    shards[4].path.unlink()
    assert os.pread(descriptor, SIZE, 0) == b"\4" * SIZE
    os.close(descriptor)


def test_without_a_limit_set_it_is_half_of_what_is_free_for_shards(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.mkdir(parents=True)
    (cache / "a.tar").write_bytes(bytes(1000))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 3000}))
    assert shard_cache._limit() == 2000
