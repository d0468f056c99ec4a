"""Remote data on a bad day: what passes is waited for, what does not is named, and nothing wrong is ever read."""

from __future__ import annotations

import hashlib
import logging
import time
from pathlib import Path

import pytest

from datasets import DatasetError, shard_cache, storage
from datasets.shards import Prepared, ShardInfo, open_prepared, verify_prepared
from datasets.stream import EvalStream, samples
from datasets.transforms import EvalTransform
from tests.datasets.faulty_server import FaultyServer
from tests.datasets.pixel_streams import eval_hash


def shard(prepared: Prepared, domain: str = "disc", split: str = "train") -> ShardInfo:
    return prepared.select(domain, split)[0]


@pytest.mark.parametrize("fault", ["500", "503", "429", "reset", "cut", "short", "long", "corrupt"])
def test_a_fault_that_passes_is_survived(blobs: Prepared, server: FaultyServer, fault: str, caplog) -> None:
    remote = open_prepared(f"{server.url}/blobs")
    name = f"blobs/{shard(blobs).name}"
    server.faults[name] = [fault]
    with caplog.at_level(logging.WARNING):
        path = remote.path(shard(remote))
    assert path.read_bytes() == blobs.path(shard(blobs)).read_bytes()
    assert server.requests[name] == 2
    assert f"{name}: " in caplog.text and "trying again in" in caplog.text


@pytest.mark.usefixtures("impatient")
def test_silence_is_survived(blobs: Prepared, server: FaultyServer, caplog) -> None:
    remote = open_prepared(f"{server.url}/blobs")
    name = f"blobs/{shard(blobs).name}"
    server.faults[name] = ["stall"]
    with caplog.at_level(logging.WARNING):
        assert remote.path(shard(remote)).read_bytes() == blobs.path(shard(blobs)).read_bytes()
    assert server.requests[name] >= 2 and "Read timed out" in caplog.text


def test_a_server_that_is_slow_but_sends_is_waited_for(
    blobs: Prepared, server: FaultyServer, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    monkeypatch.setattr(storage, "SILENCE", 1.0)
    remote, expected = open_prepared(f"{server.url}/blobs"), eval_hash(blobs, None)
    name, size = f"blobs/{shard(blobs, 'disc', 'test').name}", shard(blobs, "disc", "test").bytes
    server.seconds_per_kib = 2.2 / (size / 1024)
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        assert eval_hash(remote, None) == expected
    assert time.monotonic() - began > 2 * storage.SILENCE, "in all longer than silence is borne with"
    assert server.requests[name] == 1 and caplog.messages == []


@pytest.mark.usefixtures("impatient")
def test_several_faults_in_a_row_are_survived(
    blobs: Prepared, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "ATTEMPTS", 20)
    remote = open_prepared(f"{server.url}/blobs")
    server.faults[f"blobs/{shard(blobs).name}"] = ["500", "reset", "cut", "stall", "503", "corrupt"]
    assert remote.path(shard(remote)).stat().st_size == shard(blobs).bytes


def test_dataset_json_is_asked_for_again(blobs: Prepared, server: FaultyServer) -> None:
    server.faults["blobs/dataset.json"] = ["503", "cut"]
    remote = open_prepared(f"{server.url}/blobs/")
    assert remote.root == f"{server.url}/blobs"
    assert remote.identity == blobs.identity and remote.shards == blobs.shards


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", ["500", "reset", "stall"])
def test_a_fault_that_stays_ends_with_its_reason(
    blobs: Prepared, server: FaultyServer, cache: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "ATTEMPTS", 3)
    remote = open_prepared(f"{server.url}/blobs")
    name = f"blobs/{shard(blobs).name}"
    server.faults[name] = [fault] * 20
    with pytest.raises(storage.StorageError, match=rf"{name}: cannot be read: .*\(3 attempts\); check the network"):
        remote.path(shard(remote))
    assert server.requests[name] == 3
    assert list(cache.glob("*.tar")) == list(cache.glob("*.part")) == []


def test_a_shard_that_is_missing_is_asked_for_once(blobs: Prepared, server: FaultyServer) -> None:
    remote = open_prepared(f"{server.url}/blobs")
    name = f"blobs/{shard(blobs).name}"
    server.faults[name] = ["404"]
    with pytest.raises(storage.MissingError, match=rf"{name}: not there .*404.*upload the dataset again"):
        samples(remote, "disc", "train")
    assert server.requests[name] == 1


def test_a_shard_that_is_forbidden_is_asked_for_once(blobs: Prepared, server: FaultyServer) -> None:
    remote = open_prepared(f"{server.url}/blobs")
    name = f"blobs/{shard(blobs).name}"
    server.faults[name] = ["403"]
    with pytest.raises(storage.StorageError, match=rf"{name}: HTTP 403 .*; check the address and the credentials"):
        samples(remote, "disc", "train")
    assert server.requests[name] == 1


@pytest.mark.parametrize("fault", ["corrupt", "short", "long"])
def test_a_damaged_shard_is_named_with_what_was_found(
    blobs: Prepared, server: FaultyServer, cache: Path, fault: str
) -> None:
    remote, data = open_prepared(f"{server.url}/blobs"), bytearray(blobs.path(shard(blobs)).read_bytes())
    name = f"blobs/{shard(blobs).name}"
    server.faults[name] = [fault] * 20
    half = len(data) // 2
    data[half] ^= 1
    found = {
        "corrupt": f"its sha256 is {hashlib.sha256(data).hexdigest()}, expected {shard(blobs).sha256}",
        "short": f"it has {half:,} bytes, expected {len(data):,}",
        "long": f"it has more than {len(data):,} bytes, expected {len(data):,}",
    }[fault]
    with pytest.raises(storage.StorageError) as error:
        samples(remote, "disc", "train")
    assert f"{server.url}/{name}: {found}; the file is damaged there" in str(error.value)
    assert "upload the dataset again" in str(error.value)
    assert server.requests[name] == 2, "once more, in case it was the way here"
    assert list(cache.glob("*.tar")) == []


def test_a_shard_lost_while_it_is_read_never_ends_the_data_silently(
    blobs: Prepared, server: FaultyServer, cache: Path
) -> None:
    chosen = samples(open_prepared(f"{server.url}/blobs"), "disc", "train")
    for path in cache.glob("*.tar"):
        path.unlink()
    server.faults["*"] = ["404"] * 1000
    with pytest.raises(storage.MissingError):
        list(EvalStream(samples=chosen, transform=EvalTransform("lipsum", 16), batch_size=5))


def test_no_prepared_dataset_there(server: FaultyServer) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"no prepared dataset at http://.*/nothing; prepare it with: python -m"
    ):
        open_prepared(f"{server.url}/nothing")


def test_nobody_there(cache: Path) -> None:
    with pytest.raises(DatasetError, match=r"http://127.0.0.1:9/blobs/dataset.json: cannot be read: .*\(4 attempts\)"):
        open_prepared("http://127.0.0.1:9/blobs")


def test_verify_reads_what_lies_there_not_the_cache(blobs: Prepared, server: FaultyServer) -> None:
    remote = open_prepared(f"{server.url}/blobs")
    verify_prepared(remote)
    samples(remote, "disc", "train")
    server.faults[f"blobs/{shard(blobs).name}"] = ["corrupt"] * 2
    with pytest.raises(
        DatasetError, match=r"(?s)train-000000\.tar: its sha256 is .*prepare the dataset again and copy it"
    ):
        verify_prepared(remote)


def test_a_full_disk_is_no_reason_to_try_again(blobs: Prepared, server: FaultyServer) -> None:
    class Full:
        name = "/full/disk"

        def seek(self, place: int) -> int:
            return place

        def write(self, data: bytes) -> int:
            raise OSError(28, "No space left on device")

    there = shard(blobs)
    with pytest.raises(storage.StorageError, match=r"cannot write /full/disk: No space left.*ROBUST_FT_BENCH_CACHE"):
        storage.fetch(f"{server.url}/blobs/{there.name}", Full(), there.bytes, there.sha256)  # type: ignore[arg-type]
    assert server.requests[f"blobs/{there.name}"] == 1


def test_a_limit_that_is_no_number_is_refused(server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(shard_cache.LIMIT_VARIABLE, "a lot")
    with pytest.raises(DatasetError, match=r"must be a number of GiB, as 200 or 0\.5, it is 'a lot'"):
        samples(open_prepared(f"{server.url}/blobs"), "disc", "train")


def test_a_dataset_json_without_end_is_not_read_to_its_end(
    blobs: Prepared, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_MAX_SMALL", 100)
    server.files["blobs/dataset.json"] = bytes(50_000_000)
    with pytest.raises(storage.StorageError, match=r"/blobs/dataset\.json: has more than 100 bytes$"):
        open_prepared(f"{server.url}/blobs")
    assert server.sent < 50_000_000 and server.requests["blobs/dataset.json"] == 1
