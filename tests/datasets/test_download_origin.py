"""Downloads remember where they came from: a file of the same name at another address is another file; secrets stay secret."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from datasets import DatasetError
from datasets.base import PublishedFile
from datasets.sources.address import below, file_name, folder_of, needs_a_browser, origin, unqueried, without_secrets
from datasets.sources.download import download
from tests.datasets.faulty_server import Fault, FaultyServer
from tests.datasets.test_download import DATA, QUICK, fetched, server

__all__ = ["server"]
UNKNOWN = PublishedFile(name="data.zip")
"""neither its size nor its checksum is known"""
NEW = DATA[::-1]


@pytest.fixture
def two(server: FaultyServer) -> FaultyServer:
    server.files |= {"A/data.zip": DATA, "B/data.zip": NEW}
    return server


def got(base: str, to: Path, file: PublishedFile = UNKNOWN) -> bytes:
    (path,) = download([file], base, to, patience=QUICK)
    return path.read_bytes()


def test_the_same_name_at_another_address_is_another_file(tmp_path: Path, two: FaultyServer) -> None:
    for folder, data in (("A", DATA), ("B", NEW), ("A", DATA)):
        assert got(f"{two.url}/{folder}", tmp_path) == data
    requests = len(two.asked)
    assert got(f"{two.url}/A/", tmp_path) == DATA and len(two.asked) == requests == 3, "from the same address only once"


def test_a_file_that_is_known_need_not_come_from_the_same_address(tmp_path: Path, two: FaultyServer) -> None:
    two.files["B/a.zip"] = DATA
    assert fetched(two, tmp_path) == DATA
    requests = len(two.asked)
    for changes in ({}, {"checksum": None}, {"bytes": None}):
        assert fetched(two, tmp_path, urls=(f"{two.url}/B/a.zip",), **changes) == DATA
    assert len(two.asked) == requests


def test_what_was_put_there_by_hand_stays(tmp_path: Path, two: FaultyServer) -> None:
    (tmp_path / "data.zip").write_bytes(b"mine")
    assert got(f"{two.url}/A", tmp_path) == b"mine" and not two.asked
    (tmp_path / "data.zip").unlink()
    assert got(f"{two.url}/A", tmp_path) == DATA
    (tmp_path / "data.zip").write_bytes(b"mine")  # the note beside it is of another
    assert got(f"{two.url}/B", tmp_path) == b"mine" and len(two.asked) == 1


def test_an_interrupted_download_of_another_address_is_not_continued(tmp_path: Path, two: FaultyServer) -> None:
    assert got(f"{two.url}/A", tmp_path) == DATA
    two.faults["*"] = [Fault(end_after=100_000), *[Fault(status=500)] * QUICK.attempts]
    with pytest.raises(DatasetError, match="could not be downloaded"):
        got(f"{two.url}/B", tmp_path)
    two.faults.clear()
    assert got(f"{two.url}/A", tmp_path) == DATA, "nothing of it was touched"
    sent = two.sent
    assert got(f"{two.url}/B", tmp_path) == NEW and two.sent - sent == len(NEW) - 100_000, "its own is"


def test_killed_between_the_steps_of_naming_nothing_is_mixed_up(
    tmp_path: Path, two: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert got(f"{two.url}/A", tmp_path) == DATA
    steps = {"unlink": 1, "rename": 1, "replace": 2}  # `replace` writes the notes: of the part, then of the file
    for name, number in steps.items():
        real, calls = getattr(Path, name), [0]

        def dying(path: Path, *args: object, real=real, calls=calls, number=number, **options: object) -> object:
            calls[0] += "data.zip" in path.name
            if calls[0] == number:
                raise KeyboardInterrupt
            return real(path, *args, **options)

        copy = tmp_path / f"dies at {name}"
        copy.mkdir()
        for file in ("data.zip", ".data.zip.from.json"):
            shutil.copy2(tmp_path / file, copy)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Path, name, dying)
            got(f"{two.url}/B", copy)
        for folder, data in (("A", DATA), ("B", NEW)):
            again = tmp_path / f"{name} then {folder}"
            shutil.copytree(copy, again)
            assert got(f"{two.url}/{folder}", again) == data


def test_signed_anew_the_same_content_is_neither_sent_twice_nor_started_over(tmp_path: Path, two: FaultyServer) -> None:
    two.secret = "token=one/two"
    two.faults["*"] = [Fault(end_after=100_000), *[Fault(status=500)] * QUICK.attempts]
    with pytest.raises(DatasetError):
        got(f"{two.url}/A?token=one/two", tmp_path)
    two.faults.clear()
    two.secret, two.sent = "token=three", 0
    assert got(f"{two.url}/A?token=three", tmp_path) == DATA and two.sent == len(DATA) - 100_000
    two.secret = "token=four"
    inode = (tmp_path / "data.zip").stat().st_ino
    assert got(f"{two.url}/A?token=four", tmp_path) == DATA and (tmp_path / "data.zip").stat().st_ino == inode
    two.files["A/data.zip"] = NEW
    two.secret = "token=five"
    assert got(f"{two.url}/A?token=five", tmp_path) == NEW, "it was asked"
    two.etags, two.secret = False, "token=six"
    two.files["A/data.zip"] = DATA
    assert got(f"{two.url}/A?token=six", tmp_path) == DATA, "nothing tells that it is the same"


def test_a_query_is_sent_but_neither_shown_nor_written_down(tmp_path: Path, two: FaultyServer) -> None:
    url = two.url.replace("//", "//me:hidden@") + "/A?token=hidden"
    two.secret = "token=hidden"
    two.faults["*"] = [Fault(end_after=1000), *[Fault(status=500)] * QUICK.attempts]
    with pytest.raises(DatasetError) as refused:
        got(url, tmp_path)
    assert str(refused.value).startswith(f"data.zip could not be downloaded: {two.url}/A/data.zip: HTTP 500")
    assert "hidden" not in str(refused.value) + (tmp_path / "data.zip.part.json").read_text()
    two.faults.clear()
    assert got(url, tmp_path) == DATA
    assert not any(b"hidden" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for bad in ("http://127.0.0.1:1/x?token=hidden", "http://:9/x?token=hidden", "nope://x/y?token=hidden"):
        with pytest.raises(DatasetError) as refused:
            got(bad, tmp_path / "bad")
        assert "hidden" not in str(refused.value), bad


def test_parts_of_addresses() -> None:
    assert file_name("http://h/a/my%20pacs.zip?token=a/b") == "my pacs.zip"
    assert file_name("http://h/a%2Fb.zip") == "b.zip" and file_name("http://h/data/") == ""
    assert file_name("s3://bucket/my%20pacs.zip") == "my%20pacs.zip", "names in buckets are taken as they are"
    assert folder_of("http://h/x/PACS.zip?t=1", "PACS.zip") == "http://h/x?t=1"
    assert folder_of("http://h/x/txt/real%20a.txt", "txt/real a.txt") == "http://h/x"
    assert folder_of("http://h/x/PACS.zip", "VLCS.zip") is None and folder_of("http://h/x", "h/x/y") is None
    assert below("http://h/x?t=a/b", "txt/a b.txt") == "http://h/x/txt/a%20b.txt?t=a/b"
    assert without_secrets("https://u:p@h:8/x?y#z") == "https://h:8/x"
    assert unqueried("url: /x?token=a (Caused by 'y?z')") == "url: /x (Caused by 'y')"
    assert origin("http://h/x") == "http://h/x" != origin("http://h/x?a") != origin("http://h/x?b")
    assert needs_a_browser("https://drive.google.com/uc?id=1") and not needs_a_browser("https://notkaggle.com/x.zip")
