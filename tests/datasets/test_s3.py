"""Prepared datasets in a bucket, read with s3fs from a server of moto on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from datasets import DatasetError, storage
from datasets.shards import Prepared, open_prepared
from datasets.stream import samples

pytest.importorskip("s3fs", reason="needs the extra s3")
moto_server = pytest.importorskip("moto.server", reason="needs moto and flask, of the extra dev")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


@pytest.fixture
def bucket(endpoint: str, blobs: Prepared, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A bucket with the prepared blobs at prepared/blobs."""
    import s3fs

    settings = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**settings, "AWS_ENDPOINT_URL": endpoint}.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem()
    files.mkdir("bucket")
    files.put(f"{blobs.root}/", "bucket/prepared/blobs/", recursive=True)
    yield files
    files.rm("bucket", recursive=True)
    s3fs.S3FileSystem.clear_instance_cache()


def test_images_of_a_bucket_are_those_of_the_folder(bucket, blobs: Prepared) -> None:
    remote = open_prepared("s3://bucket/prepared/blobs")
    assert remote.identity == blobs.identity and remote.root == "s3://bucket/prepared/blobs"
    there, here = samples(remote, "disc", "train"), samples(blobs, "disc", "train")
    assert [(s.key, s.label, s.read()) for s in there] == [(s.key, s.label, s.read()) for s in here]


def test_what_is_not_in_the_bucket(bucket, blobs: Prepared) -> None:
    with pytest.raises(FileNotFoundError, match=r"no prepared dataset at s3://bucket/prepared/none; prepare it with"):
        open_prepared("s3://bucket/prepared/none")
    with pytest.raises(FileNotFoundError, match="no prepared dataset at s3://nowhere/blobs"):
        open_prepared("s3://nowhere/blobs")
    remote = open_prepared("s3://bucket/prepared/blobs")
    bucket.rm("bucket/prepared/blobs/ring/test-000000.tar")
    with pytest.raises(storage.MissingError, match=r"s3://bucket/prepared/blobs/ring/test-000000\.tar: not there"):
        samples(remote, "ring", "test")


def test_a_damaged_shard_in_a_bucket_is_named(bucket, blobs: Prepared) -> None:
    remote = open_prepared("s3://bucket/prepared/blobs")
    bucket.pipe("bucket/prepared/blobs/disc/train-000000.tar", bytes(remote.select("disc", "train")[0].bytes))
    with pytest.raises(storage.StorageError, match=r"disc/train-000000\.tar: its sha256 is [0-9a-f]{64}, expected"):
        samples(remote, "disc", "train")


def test_without_credentials(bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(
        DatasetError, match=r"s3://bucket/prepared/blobs/dataset\.json: .*check the address and the cred"
    ):
        open_prepared("s3://bucket/prepared/blobs")
