"""A shard is hashed before anything of it is used, once on a node; one that is damaged is named or fetched again."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from datasets import DatasetError, intact
from datasets.pixel_cache import GIB, PixelCache
from datasets.samples import Sample
from datasets.shards import Prepared, ShardInfo, open_prepared
from datasets.stream import EvalStream, TrainStream, samples
from datasets.transforms import EvalTransform, TrainTransform
from tests.datasets.faulty_server import FaultyServer
from tests.datasets.pixel_streams import eval_hash, train_hash

READ = (
    "import sys; from datasets import intact; from datasets.samples import samples;"
    "from datasets.shards import open_prepared; real = intact._digest\n"
    "def digest(descriptor): print('hashed', flush=True); return real(descriptor)\n"
    "intact._digest = digest; print(len(samples(open_prepared(sys.argv[1]), 'disc', 'train')))"
)


@pytest.fixture
def local(blobs: Prepared, cache: Path, tmp_path: Path) -> Prepared:
    """A copy of blobs that may be damaged, and a node that knows nothing of it."""
    return open_prepared(shutil.copytree(blobs.root, tmp_path / "copy"))


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An entry for every shard that this process hashes, from now on as if it had just started."""
    found, real = list[int](), intact._digest

    def digest(descriptor: int) -> str:
        found.append(os.fstat(descriptor).st_size)
        return real(descriptor)

    monkeypatch.setattr(intact, "_digest", digest)
    restart(monkeypatch)
    return found


def restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what this process knows, as a new one would."""
    monkeypatch.setattr(intact, "_known", {})


def first(prepared: Prepared, domain: str = "disc", split: str = "train") -> tuple[ShardInfo, Path]:
    shard = prepared.select(domain, split)[0]
    return shard, Path(prepared.root) / shard.name


def flip(path: Path, place: int) -> str:
    """Flip a bit; returns the hash of what is there then."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def journals(cache: Path) -> list[Path]:
    return list((cache.parent / "checked").iterdir())


def inside(prepared: Prepared, domain: str, split: str) -> int:
    """The place of a byte in the middle of an image."""
    sample = samples(prepared, domain, split)[3]
    return sample.offset + sample.size // 2


def read_all(chosen: list[Sample]) -> None:
    list(EvalStream(samples=chosen, transform=EvalTransform("lipsum", 16), batch_size=5, threads=3))


@pytest.mark.parametrize("url", [False, True])
def test_a_flipped_bit_of_a_local_shard_is_named_with_both_hashes(local: Prepared, blobs: Prepared, url: bool) -> None:
    shard, path = first(local)
    found = flip(path, inside(blobs, "disc", "train"))
    again = open_prepared(Path(local.root).as_uri() if url else local.root)
    with pytest.raises(DatasetError) as error:
        samples(again, "disc", "train")
    assert str(error.value).startswith(
        f"{path}: sha256 is {found}, expected {shard.sha256}; delete the folder {local.root}"
    )
    assert "prepare the dataset again" in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(DatasetError, match=found):
        again.path(shard)
    assert samples(again, "ring", "train"), "other shards are none of its business"


def test_a_flipped_label_is_found_too(local: Prepared) -> None:
    _, path = first(local)
    flip(path, path.read_bytes().index(b".cls") // 512 * 512 + 512)
    with pytest.raises(DatasetError, match=r"train-000000\.tar: sha256 is "):
        samples(open_prepared(local.root), "disc", "train")


def test_a_shard_that_is_damaged_or_lost_while_it_is_in_use_is_named(local: Prepared) -> None:
    chosen, (shard, path) = samples(local, "disc", "train"), first(local)
    read_all(chosen)
    data, found = path.read_bytes(), flip(path, chosen[3].offset + 9)
    with pytest.raises(DatasetError, match=f"{path}: sha256 is {found}, expected {shard.sha256}"):
        read_all(chosen)
    path.write_bytes(data)
    read_all(chosen)
    path.unlink()
    with pytest.raises(DatasetError, match=rf"{path}: missing, expected sha256 {shard.sha256}; .*prepare the dataset"):
        read_all(chosen)


def test_a_shard_that_the_disk_cannot_read_is_named_or_fetched_again(
    local: Prepared, server: FaultyServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    remote = open_prepared(f"{server.url}/blobs")
    samples(remote, "disc", "train")

    def fail(descriptor: int) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(intact, "_digest", fail)
    restart(monkeypatch)
    with pytest.raises(
        DatasetError, match=rf"{first(local)[1]}: cannot be read: Input/output error; delete the folder"
    ):
        samples(local, "disc", "train")
    for journal in intact.cache_folder().glob("checked/*"):
        journal.unlink()
    assert len(samples(remote, "disc", "train")) == 30
    assert server.requests[f"blobs/{first(local)[0].name}"] == 2 and "Input/output error; it is fetched" in caplog.text


def test_a_node_hashes_a_shard_once(
    local: Prepared, cache: Path, hashed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        read_all(samples(local, "disc", "train"))
    assert len(hashed) == 1, "of the split that is read, for its index and all passes"
    restart(monkeypatch)
    read_all(samples(local, "disc", "train"))
    out = subprocess.run([sys.executable, "-c", READ, local.root], capture_output=True, text=True, check=True)
    assert (len(hashed), out.stdout.split()) == (1, ["30"])
    os.utime(first(local)[1])
    read_all(samples(local, "disc", "train"))
    assert len(hashed) == 2, "it may be another content"
    (tmp := first(local)[1].with_name("other")).write_bytes(first(local)[1].read_bytes())
    shutil.copystat(first(local)[1], tmp)
    tmp.replace(first(local)[1])
    read_all(samples(local, "disc", "train"))
    assert len(hashed) == 3, "another file with the same times"


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: shutil.rmtree(path.parent),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-20]),
        lambda path: path.write_bytes(os.urandom(500)),
        lambda path: flip(path, 20),
    ],
)
def test_a_journal_that_is_gone_or_damaged_is_made_again(
    damage: Callable[[Path], object], local: Prepared, cache: Path, hashed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    samples(local, "disc", "train")
    [journal] = journals(cache)
    damage(journal)
    for _ in range(2):
        restart(monkeypatch)
        assert len(samples(local, "disc", "train")) == 30
    assert len(hashed) == 2, "once before, once after the damage"


def test_a_journal_that_got_long_begins_anew(
    local: Prepared, cache: Path, hashed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intact, "_MOST", 1000)
    for second in range(20):
        os.utime(first(local)[1], (second, second))
        samples(local, "disc", "train")
    [journal] = journals(cache)
    assert 100 < journal.stat().st_size < 2000
    restart(monkeypatch)
    samples(local, "disc", "train")
    assert len(hashed) == 20, "the last is there"


def test_what_is_damaged_is_never_remembered_as_good(local: Prepared, hashed: list[int]) -> None:
    _, path = first(local)
    data, status = path.read_bytes(), path.stat()
    flip(path, 5000)
    for _ in range(2):
        with pytest.raises(DatasetError, match="sha256 is"):
            samples(local, "disc", "train")
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    samples(local, "disc", "train")
    assert len(hashed) == 3


def test_threads_and_processes_do_not_hash_the_same_shard(local: Prepared, hashed: list[int]) -> None:
    threads = [threading.Thread(target=samples, args=(local, "ring", "test")) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(hashed) == 1
    command = [sys.executable, "-c", READ, local.root]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    words = " ".join(process.communicate()[0] for process in processes).split()
    assert sorted(words) == ["30", "30", "30", "hashed"]


def test_a_node_cache_that_cannot_be_used_is_said_once_and_costs_a_hash_a_process(
    local: Prepared,
    tmp_path: Path,
    hashed: list[int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ROBUST_FT_BENCH_CACHE", str(tmp_path / "file"))
    for domain in ("disc", "ring", "disc"):
        read_all(samples(local, domain, "train"))
    assert len(hashed) == 2
    [line] = caplog.messages
    assert line.startswith(f"{tmp_path / 'file' / 'checked'} cannot be used") and "every process" in line
    flip(first(local)[1], 5000)
    with pytest.raises(DatasetError, match="sha256 is"):
        samples(local, "disc", "train")


def test_a_fetched_shard_that_was_damaged_since_is_fetched_again(
    blobs: Prepared, server: FaultyServer, cache: Path, hashed: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    remote = open_prepared(f"{server.url}/blobs")
    expected, name = eval_hash(blobs, None), f"blobs/{first(blobs, 'disc', 'test')[0].name}"
    hashed.clear()
    chosen = samples(remote, "disc", "test")
    assert (eval_hash(remote, None), server.requests[name], hashed) == (expected, 1, []), "hashed while it was fetched"
    found = flip(chosen[0].path, chosen[3].offset + 9)
    with caplog.at_level(logging.WARNING):
        assert eval_hash(remote, None) == expected
    assert server.requests[name] == 2
    [line] = [message for message in caplog.messages if "fetched again" in message]
    assert found in line and str(chosen[0].path) in line and server.url in line
    flip(chosen[0].path, chosen[3].offset + 9)
    list(EvalStream(samples=chosen, transform=EvalTransform("lipsum", 16), batch_size=5, threads=4))
    assert server.requests[name] == 3, "in the middle of a run as well, once for all threads"
    assert {path.read_bytes() for path in cache.glob("*.tar")} == {first(blobs, "disc", "test")[1].read_bytes()}


def test_a_fetched_shard_that_is_damaged_here_and_there_is_an_error(
    blobs: Prepared, server: FaultyServer, cache: Path
) -> None:
    remote = open_prepared(f"{server.url}/blobs")
    chosen = samples(remote, "disc", "test")
    flip(chosen[0].path, chosen[3].offset + 9)
    server.faults[f"blobs/{first(blobs, 'disc', 'test')[0].name}"] = ["corrupt"] * 9
    with pytest.raises(DatasetError, match=r"its sha256 is .* the file is damaged there"):
        samples(remote, "disc", "test")
    assert not list(cache.glob("*.tar"))


def test_cached_pixels_need_no_shard(local: Prepared, blobs: Prepared, hashed: list[int], tmp_path: Path) -> None:
    expected = train_hash(blobs, None)
    hashed.clear()
    cache = PixelCache(GIB, tmp_path / "pixels")
    assert train_hash(local, cache) == expected and len(hashed) == 1, "no other shard of the dataset"
    chosen = samples(local, "disc", "train")
    reader = cache.reader(local, chosen)
    flip(first(local)[1], chosen[3].offset + 9)
    made = TrainStream(
        samples=chosen, transform=TrainTransform(16, (0.3, 1.0), flip=True), seed=3, global_batch_size=12, reader=reader
    )
    assert len(list(made.batches(0, 6))) == 6


def test_hashing_that_takes_long_says_how_far_it_is(local: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[int, int]] = []

    def hear(ready: int, needed: int) -> None:
        heard.append((ready, needed))

    samples(local, "disc", "train", hear)
    assert heard == [], "what is quick is not told"
    monkeypatch.setattr("datasets.samples.TELL_SECONDS", -1.0)
    samples(local, "disc", "train", hear)
    needed = len(local.select("disc", "train"))
    assert heard == [(ready, needed) for ready in range(1, needed + 1)]
