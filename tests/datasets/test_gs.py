"""Prepared datasets in a bucket of Google Cloud Storage, read with gcsfs from as much of its JSON API as that takes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import fsspec
import pytest
from fsspec.registry import _registry

from datasets import storage
from datasets.shards import Prepared, open_prepared
from datasets.stream import samples

gcsfs = pytest.importorskip("gcsfs", reason="needs the extra gs")


class Bucket:
    """Serves the files of a folder as the objects `prepared/...` of a bucket; `faults` are statuses of the next answers."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.faults = folder, list[int]()
        bucket = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                bucket.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        name = unquote(parts.path.partition("/o/")[2])
        path = self.folder / name.removeprefix("prepared/")
        status, body = 200, b""
        if self.faults:
            status = self.faults.pop(0)
        elif "/o/" not in parts.path:
            body = json.dumps({"kind": "storage#objects", "items": []}).encode()
        elif not path.is_file() or not name.startswith("prepared/"):
            status, body = 404, json.dumps({"error": {"code": 404, "message": "No such object"}}).encode()
        elif "alt=media" in parts.query:
            body = path.read_bytes()
            if wanted := request.headers.get("Range"):
                first, last = wanted.removeprefix("bytes=").split("-")
                status, body = 206, body[int(first) : int(last) + 1 if last else None]
        else:
            media = f"{self.url}/download/storage/v1/b/bucket/o/{parts.path.partition('/o/')[2]}?alt=media"
            facts = {
                "bucket": "bucket",
                "name": name,
                "size": str(path.stat().st_size),
                "mediaLink": media,
                "etag": "1",
            }
            body = json.dumps({"kind": "storage#object", "updated": "2020-01-01T00:00:00Z", **facts}).encode()
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


@pytest.fixture
def bucket(blobs: Prepared, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    found = Bucket(Path(blobs.root).parent)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", found.url)
    monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon"})
    # Not the class that asks for the kind of the bucket first, over gRPC, which no emulator answers.
    monkeypatch.setitem(_registry, "gs", gcsfs.core.GCSFileSystem)
    gcsfs.core.GCSFileSystem.clear_instance_cache()
    yield found
    found.server.shutdown()
    found.server.server_close()
    gcsfs.core.GCSFileSystem.clear_instance_cache()


def test_images_of_a_bucket_are_those_of_the_folder(bucket: Bucket, blobs: Prepared) -> None:
    remote = open_prepared("gs://bucket/prepared/blobs")
    assert remote.identity == blobs.identity
    bucket.faults = [503, 500]
    there, here = samples(remote, "disc", "train"), samples(blobs, "disc", "train")
    assert [(s.key, s.label, s.read()) for s in there] == [(s.key, s.label, s.read()) for s in here]


def test_what_is_not_in_the_bucket(bucket: Bucket, blobs: Prepared) -> None:
    with pytest.raises(FileNotFoundError, match=r"no prepared dataset at gs://bucket/prepared/none; prepare it with"):
        open_prepared("gs://bucket/prepared/none")
    remote = open_prepared("gs://bucket/prepared/blobs")
    bucket.folder = bucket.folder / "elsewhere"
    with pytest.raises(storage.MissingError, match=r"gs://bucket/prepared/blobs/disc/train-000000\.tar: not there"):
        samples(remote, "disc", "train")
