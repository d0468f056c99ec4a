"""Downloads that were interrupted go on where they stopped, and never mix contents."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datasets.base import PublishedFile
from datasets.sources.download import download
from tests.datasets.faulty_server import Fault, FaultyServer
from tests.datasets.test_download import DATA, QUICK, ROOT, SHA256, fetched, refusal, server

__all__ = ["server"]


def interrupted(server: FaultyServer, to: Path, at: int, **changes: object) -> None:
    """Leave a download that got `at` bytes from this server and then failed for good."""
    server.faults["*"] = [Fault(end_after=at), *[Fault(status=500)] * QUICK.attempts]
    refusal(server, to, **changes)
    server.faults.clear()
    server.asked.clear()
    server.sent = 0
    assert (to / "a.zip.part").stat().st_size == at


def test_a_later_call_goes_on_where_the_first_stopped(tmp_path, server):
    interrupted(server, tmp_path, 200_000)
    assert fetched(server, tmp_path) == DATA
    assert server.asked == [("a.zip", "bytes=200000-")] and server.sent == 100_000


def test_a_file_that_was_whole_but_not_named_yet_is_not_sent_again(tmp_path, server):
    interrupted(server, tmp_path, 200_000)
    (tmp_path / "a.zip.part").write_bytes(DATA)
    assert fetched(server, tmp_path) == DATA and server.asked == []


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("etags", [True, False])
def test_changed_content_is_never_mixed(tmp_path, server, ranges, etags):
    server.ranges, server.etags = ranges, etags
    interrupted(server, tmp_path, 100_000, bytes=None, checksum=None)
    new = DATA[::-1][:250_000]
    server.files["a.zip"] = new
    assert fetched(server, tmp_path, bytes=None, checksum=None) == new
    assert len(server.asked) == 1 and server.sent == len(new), "one request finds out and gets the new content"


@pytest.mark.parametrize("size", [250_000, len(DATA)])
def test_a_server_that_continues_with_other_content_is_found_out(tmp_path, server, size):
    server.conditions = False
    interrupted(server, tmp_path, 100_000, bytes=None, checksum=None)
    server.files["a.zip"] = DATA[::-1][:size]
    assert fetched(server, tmp_path, bytes=None, checksum=None) == DATA[::-1][:size]
    assert [asked for _, asked in server.asked] == ["bytes=100000-", ""]


def test_a_server_without_ranges_starts_over(tmp_path, server):
    server.ranges = False
    interrupted(server, tmp_path, 100_000)
    assert fetched(server, tmp_path) == DATA and server.sent == len(DATA)


def test_without_a_version_only_a_checksum_allows_to_go_on(tmp_path, server):
    server.etags = False
    interrupted(server, tmp_path / "with", 100_000)
    assert fetched(server, tmp_path / "with") == DATA and server.sent == 200_000
    interrupted(server, tmp_path / "without", 100_000, checksum=None)
    assert fetched(server, tmp_path / "without", checksum=None) == DATA and server.sent == len(DATA)


def test_a_part_longer_than_the_new_file_is_dropped(tmp_path, server):
    interrupted(server, tmp_path, 200_000, bytes=None, checksum=None)
    server.files["a.zip"] = DATA[:50_000]
    state = json.loads((tmp_path / "a.zip.part.json").read_text())
    weak = state | {"version": 'W/"x"'}  # may not be sent as a condition, so the server answers 416
    (tmp_path / "a.zip.part.json").write_text(json.dumps(weak))
    assert fetched(server, tmp_path, bytes=None, checksum=None) == DATA[:50_000]


def test_what_another_address_sent_is_not_continued(tmp_path, server):
    interrupted(server, tmp_path, 100_000)
    server.files["b/a.zip"] = DATA
    assert fetched(server, tmp_path, urls=(f"{server.url}/b/a.zip",)) == DATA and server.sent == len(DATA)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": 1}', '{"url": "x", "version": "y", "total": 5}'])
def test_a_damaged_note_beside_the_part_means_to_start_over(tmp_path, server, text):
    interrupted(server, tmp_path, 100_000)
    (tmp_path / "a.zip.part.json").write_text(text)
    assert fetched(server, tmp_path) == DATA


def test_a_resumed_file_with_bad_bytes_is_not_taken(tmp_path, server):
    interrupted(server, tmp_path, 100_000)
    with (tmp_path / "a.zip.part").open("r+b") as file:
        file.write(b"spoilt")
    assert "its sha256 is" in refusal(server, tmp_path)
    (tmp_path / "a.zip.bad").unlink()
    assert fetched(server, tmp_path) == DATA


def test_killed_in_the_middle_only_the_rest_is_sent(tmp_path, server):
    server.seconds_per_kib = 0.005
    code = (
        "import sys; from pathlib import Path; from datasets.base import PublishedFile;"
        "from datasets.sources.download import download;"
        f"download([PublishedFile(name='a.zip', checksum={SHA256!r})], sys.argv[1], Path(sys.argv[2]))"
    )
    child = subprocess.Popen([sys.executable, "-c", code, server.url, str(tmp_path)], cwd=ROOT)
    part = tmp_path / "a.zip.part"
    deadline = time.monotonic() + 60
    while not part.exists() or part.stat().st_size < 60_000:
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    have = part.stat().st_size
    assert 60_000 <= have < len(DATA) and not (tmp_path / "a.zip").exists()
    time.sleep(0.1)  # the server notices
    server.sent, server.seconds_per_kib = 0, 0.0
    (path,) = download([PublishedFile(name="a.zip", checksum=SHA256)], server.url, tmp_path)
    assert path.read_bytes() == DATA and server.sent == len(DATA) - have
