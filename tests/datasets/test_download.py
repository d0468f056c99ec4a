"""Downloads against a server that fails in every way: whole files, no byte twice without need, nothing wrong taken."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import fsspec
import pytest

from datasets import DatasetError
from datasets.base import PublishedFile
from datasets.sources import transfer as transfer_module
from datasets.sources.download import download
from datasets.sources.transfer import Patience
from tests.datasets.faulty_server import Fault, FaultyServer, serving

DATA = random.Random(0).randbytes(300_000)


SHA256 = "sha256:" + hashlib.sha256(DATA).hexdigest()


MD5 = "md5:" + hashlib.md5(DATA).hexdigest()


QUICK = Patience(attempts=3, first_wait=0.01, timeout=5.0)


ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def server(monkeypatch) -> Iterator[FaultyServer]:
    monkeypatch.setenv("NO_PROXY", "*")
    with serving() as state:
        state.files["a.zip"] = DATA
        yield state


def published(server: FaultyServer, **changes: object) -> PublishedFile:
    facts = {"name": "a.zip", "urls": (f"{server.url}/a.zip",), "bytes": len(DATA), "checksum": SHA256}
    return PublishedFile(**(facts | changes))  # type: ignore[arg-type]


def fetched(server: FaultyServer, to: Path, **changes: object) -> bytes:
    (path,) = download([published(server, **changes)], None, to, patience=QUICK)
    assert not [p.name for p in to.rglob("*") if ".part" in p.name or ".bad" in p.name]
    return path.read_bytes()


def refusal(server: FaultyServer, to: Path, **changes: object) -> str:
    with pytest.raises(DatasetError) as raised:
        fetched(server, to, **changes)
    assert not (to / "a.zip").exists(), "nothing wrong is taken"
    assert len(str(raised.value).splitlines()) == 1
    return str(raised.value)


def test_files_of_the_domains_from_a_mirror_or_their_own_addresses(tmp_path, server):
    server.files |= {"x/sub/b c.txt": b"list", "other.tar": b"tar"}
    files = [
        published(server, domains=("real", "ink")),
        published(server, name="sub/b c.txt", urls=(), bytes=4, checksum=None),
        published(server, name="other.tar", domains=("ink",), bytes=None, checksum=None),
        published(server, name="instead.tar", optional=True),
    ]
    server.files["x/a.zip"] = DATA
    seen: list[tuple[str, int, int | None]] = []
    found = download(files, f"{server.url}/x/", tmp_path, ["real"], lambda *step: seen.append(step))
    assert found == [tmp_path / "a.zip", tmp_path / "sub/b c.txt"]
    assert found[0].read_bytes() == DATA and found[1].read_bytes() == b"list"
    assert [path for path, _ in server.asked] == ["x/a.zip", "x/sub/b c.txt"]
    assert seen[-1] == ("sub/b c.txt", 4, 4) and ("a.zip", len(DATA), len(DATA)) in seen
    assert [done for name, done, _ in seen if name == "a.zip"] == sorted(
        {done for name, done, _ in seen if name == "a.zip"}
    )
    requests = len(server.asked)
    assert download(files, f"{server.url}/x/", tmp_path, ["real"]) == found and len(server.asked) == requests
    server.files["a.zip"] = DATA
    assert download([files[0]], None, tmp_path / "own")[0].read_bytes() == DATA


@pytest.mark.parametrize(
    "faults",
    [
        [Fault(status=500), Fault(status=503), Fault()],
        [Fault(status=429, headers={"Retry-After": "0"}), Fault(status=408)],
        [Fault(reset_after=100_000), Fault(reset_after=50_000)],
        [Fault(end_after=0), Fault(end_after=1)],
        [Fault(reset_after=0), Fault(reset_after=0)],
        [Fault(end_after=40_000)] * 7,
    ],
)
@pytest.mark.parametrize("checksum", [SHA256, None])
def test_what_passes_is_borne_with(tmp_path, server, faults, checksum):
    server.faults["*"] = list(faults)
    assert fetched(server, tmp_path, checksum=checksum) == DATA
    lost = sum(fault.reset_after or 0 for fault in faults)  # a reset may drop what is on its way
    assert len(DATA) <= server.sent <= len(DATA) + lost


def test_without_end_it_is_given_up_after_some_attempts(tmp_path, server):
    server.faults["*"] = [Fault(status=500)] * 20
    assert "a.zip could not be downloaded: http" in refusal(server, tmp_path)
    assert len(server.asked) == QUICK.attempts
    server.faults["*"] = [Fault(end_after=0)] * 20
    assert f"IncompleteRead(0 bytes read, {len(DATA)} more expected) (attempt 3 of 3)" in refusal(
        server, tmp_path / "b"
    )


def test_silence_is_noticed_and_slowness_is_not_a_fault(tmp_path, server):
    server.faults["*"] = [Fault(pause_after=100_000, pause=60.0)]
    (path,) = download([published(server)], None, tmp_path, patience=Patience(first_wait=0.01, timeout=0.5))
    assert path.read_bytes() == DATA
    assert len(server.asked) >= 2 and server.asked[1][1].startswith("bytes=")
    server.files["a.zip"], server.seconds_per_kib = DATA[:4096], 0.6
    patience, requests = Patience(attempts=1, timeout=2.0), len(server.asked)
    (slow,) = download([published(server, bytes=4096, checksum=None)], None, tmp_path / "slow", patience=patience)
    assert slow.read_bytes() == DATA[:4096] and len(server.asked) == requests + 1


def test_a_server_that_asks_to_wait_is_obeyed(tmp_path, server, monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr(transfer_module.time, "sleep", waits.append)
    date = formatdate(time.time() + 100, usegmt=True)
    server.faults["*"] = [
        Fault(status=429, headers={"Retry-After": "7"}),
        Fault(status=503, headers={"Retry-After": date}),
    ]
    assert fetched(server, tmp_path) == DATA
    waits = [wait for wait in waits if wait > 0]
    assert waits[0] == 7 and 95 < waits[1] <= 100
    server.faults["*"] = [Fault(status=503, headers={"Retry-After": "86400"})]
    assert "asks to come back in 86400 s" in refusal(server, tmp_path / "b")


def test_waits_grow_and_differ():
    patience = Patience(first_wait=1.0, longest_wait=10.0)
    for failures, longest in ((1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 10.0), (50, 10.0)):
        waits = [patience.wait(failures) for _ in range(50)]
        assert longest / 2 <= min(waits) and max(waits) <= longest and len(set(waits)) > 10


def test_a_wrong_checksum_is_named_and_the_file_kept_aside(tmp_path, server):
    server.files["a.zip"] = bytes(len(DATA))
    found = hashlib.sha256(bytes(len(DATA))).hexdigest()
    message = refusal(server, tmp_path)
    assert f"its sha256 is {found}, expected {SHA256[7:]}; kept as {tmp_path}/a.zip.bad" in message
    assert (tmp_path / "a.zip.bad").read_bytes() == bytes(len(DATA))
    server.files["a.zip"] = DATA
    (path,) = download([published(server, checksum=MD5)], None, tmp_path)
    assert path.read_bytes() == DATA


def test_a_wrong_size_is_named_before_the_file_is_sent(tmp_path, server):
    assert f"offers {len(DATA):,} bytes, expected 5" in refusal(server, tmp_path, bytes=5)
    assert server.sent < len(DATA)
    server.lengths = False
    assert "sends more than 299,000 bytes" in refusal(server, tmp_path / "b", bytes=299_000, checksum=None)
    assert "it has 300,000 bytes, expected 300,001" in refusal(server, tmp_path / "c", bytes=300_001, checksum=None)
    assert fetched(server, tmp_path / "d") == DATA


def test_mirrors_are_tried_in_turn(tmp_path, server):
    server.files |= {"wrong/a.zip": bytes(len(DATA)), "page/a.zip": b"<html>confirm</html>"}
    gone, wrong, page = (f"{server.url}/{place}/a.zip" for place in ("gone", "wrong", "page"))
    dead = "http://127.0.0.1:9/a.zip"
    assert fetched(server, tmp_path / "a", urls=(gone, f"{server.url}/a.zip")) == DATA
    assert server.asked == [("gone/a.zip", ""), ("a.zip", "")], "404 is not asked again"
    (path,) = download(
        [published(server, urls=(dead, wrong, f"{server.url}/a.zip"))], None, tmp_path / "b", patience=QUICK
    )
    assert path.read_bytes() == DATA
    server.faults["*"] = [Fault(), Fault(headers={"Content-Type": "text/html; charset=utf-8"})]
    message = refusal(server, tmp_path / "c", urls=(gone, page))
    assert f"{gone}: HTTP 404" in message and f"{page}: answers with a web page instead of the file" in message


def test_what_needs_a_browser_is_named_before_anything_is_fetched(tmp_path, server):
    files = [
        published(server),
        PublishedFile(name="PACS.zip", urls=("https://drive.google.com/uc?id=1",)),
        PublishedFile(name="sub/b.mat"),
    ]
    with pytest.raises(FileNotFoundError) as raised:
        download(files, None, tmp_path, homepage="https://example.org")
    lines = str(raised.value).splitlines()
    assert lines == [
        "2 files cannot be downloaded by a program:",
        f"PACS.zip: get it with a browser from https://drive.google.com/uc?id=1 and put it at {tmp_path}/PACS.zip",
        f"sub/b.mat: get it with a browser from https://example.org and put it at {tmp_path}/sub/b.mat",
    ]
    assert server.asked == []
    (tmp_path / "sub").mkdir()
    for name in ("PACS.zip", "sub/b.mat"):
        (tmp_path / name).write_bytes(b"by hand")
    assert len(download(files, None, tmp_path)) == 3


def test_what_is_there_is_checked_and_unpacked_archives_are_left_out(tmp_path, server):
    (tmp_path / "a.zip").write_bytes(bytes(len(DATA)))
    with pytest.raises(DatasetError, match=r"a\.zip: is not the file as published: its sha256 is .* move it away"):
        download([published(server)], None, tmp_path)
    assert (tmp_path / "a.zip").read_bytes() == bytes(len(DATA)), "the user's file is left alone"
    (tmp_path / "a.zip").unlink()
    (tmp_path / "real").mkdir()
    assert download([published(server, unpacked=("real",))], None, tmp_path) == [] and server.asked == []


@pytest.mark.parametrize("name", ["../a.zip", "/a.zip", "a/../../b", "a\\b", "C:a.zip", "a\0b", ""])
def test_names_that_lead_outside_are_refused(tmp_path, server, name):
    with pytest.raises(DatasetError, match="published file"):
        download([published(server, name=name)], server.url, tmp_path / "in")
    assert not (tmp_path / "in").exists() and server.asked == []


def test_a_disk_that_is_too_small_is_noticed_first(tmp_path, server, monkeypatch):
    usage = transfer_module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(transfer_module.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    message = refusal(server, tmp_path)
    assert "a.zip: 300,000 bytes are still to be downloaded" in message and "1,000 are free" in message


def test_only_one_process_downloads_into_a_folder(tmp_path, server):
    def meanwhile(*_: object) -> None:
        with pytest.raises(DatasetError, match="another process is downloading into"):
            download([published(server)], None, tmp_path)

    (path,) = download([published(server)], None, tmp_path, progress=meanwhile)
    assert path.read_bytes() == DATA


def test_buckets_and_folders_through_fsspec(tmp_path, server):
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/set/a b#.zip", DATA)
    file = PublishedFile(name="a b#.zip", checksum=SHA256)
    (path,) = download([file], "memory://bucket/set", tmp_path)
    assert path.read_bytes() == DATA
    with pytest.raises(DatasetError, match=r"could not be downloaded: memory://.*gone\.zip: "):
        download([PublishedFile(name="gone.zip")], "memory://bucket/set", tmp_path)
    with pytest.raises(DatasetError, match="nonsense"):
        download([file], "nonsense://bucket", tmp_path / "b")
    (tmp_path / "from").mkdir()
    (tmp_path / "from/a.zip").write_bytes(DATA)
    to = tmp_path / "to"
    to.mkdir()
    (to / "a.zip.part").write_bytes(DATA[:100_000])
    version = str(fsspec.filesystem("file").info(str(tmp_path / "from/a.zip"))["mtime"])
    state = {"url": f"file://{tmp_path}/from/a.zip", "version": version, "total": len(DATA)}
    (to / "a.zip.part.json").write_text(json.dumps(state))
    steps: list[int] = []
    (path,) = download([published(server)], f"file://{tmp_path}/from", to, None, lambda _, done, __: steps.append(done))
    assert path.read_bytes() == DATA and steps[0] > 100_000
