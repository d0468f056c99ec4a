"""`prepare --to` a URI: uploaded, `dataset.json` last, and verified there."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

import datasets
import datasets.sources.download
import datasets.storage
from datasets import DatasetError
from datasets.shard_writer import only_one
from datasets.shards import open_prepared
from orchestrator.prepare.dataset import prepare
from orchestrator.prepare.upload import bound
from tests.orchestrator.test_prepare import QUIET, fake, shown, text

__all__ = ["fake"]


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("ROBUST_FT_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def bucket():
    storage = fsspec.filesystem("memory")
    yield storage
    if storage.exists("/bucket"):
        storage.rm("/bucket", recursive=True)


def test_a_uri_is_uploaded_to_dataset_json_last_and_then_verified(tmp_path, fake, cache, bucket, monkeypatch):
    local = prepare("fake", None, tmp_path / "fake", None, QUIET)
    sent: list[str] = []
    put_file = type(bucket).put_file

    def put(self, here: str, there: str, **options: object) -> None:
        if len(sent) == 2 and not broken:
            broken.append(1)
            raise ConnectionError("the line is dead")
        sent.append(there)
        put_file(self, here, there, **options)

    broken: list[int] = []
    monkeypatch.setattr(type(bucket), "put_file", put)
    with pytest.raises(DatasetError, match="ConnectionError: the line is dead; check address, credentials and network"):
        prepare("fake", None, "memory://bucket/fake", None, QUIET)
    fake.made.clear()
    prepared = prepare("fake", None, "memory://bucket/fake", None, QUIET)
    assert fake.made == [], "the scratch folder was kept"
    assert len(sent) == len(set(sent)) == 5 and sent[-1].endswith("/dataset.json")
    assert prepared.identity == local.identity and prepared.root == "memory://bucket/fake"
    assert not list(cache.rglob("*.tar")), "the scratch folder is gone"
    for shard in prepared.shards:
        assert bucket.cat(f"/bucket/fake/{shard.name}") == (tmp_path / "fake" / shard.name).read_bytes()
    console = shown()
    assert prepare("fake", None, "memory://bucket/fake", None, console).identity == local.identity
    assert "fake is prepared already; verified" in text(console) and fake.made == [] and len(sent) == 5
    with pytest.raises(DatasetError, match="another short_side"):
        prepare("fake", None, "memory://bucket/fake", 8, QUIET)
    monkeypatch.setattr(datasets.storage, "FIRST_WAIT", 0.01)
    bucket.pipe("/bucket/fake/ink/test-000000.tar", b"x" * 20480)
    with pytest.raises(DatasetError, match=r"memory://bucket/fake/ink/test-000000\.tar: its sha256 is"):
        prepare("fake", None, "memory://bucket/fake", None, QUIET)


def test_an_upload_that_loses_bytes_is_an_error(fake, cache, bucket, monkeypatch):
    monkeypatch.setattr(type(bucket), "put_file", lambda self, here, there, **options: self.pipe(there, b"short"))
    with pytest.raises(DatasetError, match=r"fake/ink/train-000000\.tar: has 5 bytes after the upload, expected"):
        prepare("fake", None, "memory://bucket/fake", None, QUIET)
    assert not bucket.exists("/bucket/fake/dataset.json")


def test_a_file_uri_is_a_folder_and_what_cannot_be_written_is_refused(tmp_path, fake):
    assert prepare("fake", None, f"file://{tmp_path}/fake", None, QUIET) == open_prepared(tmp_path / "fake")
    with pytest.raises(DatasetError, match="nothing can be written over https"):
        prepare("fake", None, "https://example.org/fake", None, QUIET)
    with pytest.raises(DatasetError, match="ftpx:// is no storage that fsspec knows"):
        prepare("fake", None, "ftpx://example.org/fake", None, QUIET)
    with pytest.raises(DatasetError, match=r"ftp://127\.0\.0\.1:1/fake: cannot be written to: .* check the address"):
        prepare("fake", None, "ftp://127.0.0.1:1/fake", None, QUIET)
    with pytest.raises(DatasetError, match=r"^http://\[::1/fake: is no URL"):
        prepare("fake", None, "http://me:secret@[::1/fake?token=secret", None, QUIET)
    for source, to in ((None, "http://[::1/fake"), ("http://[::1/fake.tar", f"{tmp_path}/other")):
        with pytest.raises(DatasetError, match=r"http://\[::1/fake(\.tar)?: is no URL: Invalid IPv6 URL"):
            prepare("fake", source, to, None, QUIET)


def test_two_processes_do_not_upload_to_the_same_place(fake, cache, bucket):
    upload = bound("memory://bucket/fake")
    with only_one(upload.scratch.parent), pytest.raises(DatasetError) as raised:
        prepare("fake", None, "memory://bucket/fake", None, QUIET)
    assert str(raised.value) == "another process is preparing memory://bucket/fake; wait for it to end"
    prepare("fake", None, "memory://bucket/fake", None, QUIET)
