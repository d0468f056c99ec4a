"""Opens archives by what they begin with, each once a process and anew when the file changes."""

from __future__ import annotations

import gzip
import io
import os
from functools import lru_cache, partial
from pathlib import Path

from datasets import DatasetError
from datasets.sources.archive import Archive
from datasets.sources.names import is_archive
from datasets.sources.tar_archive import open_tar
from datasets.sources.unpacked import Stream, unpacked
from datasets.sources.zip_archive import open_zip

_GZIP = b"\x1f\x8b"


def open_archive(path: Path) -> Archive:
    """The archive at `path`. Raises FileNotFoundError, DatasetError if it is none, is damaged, or has unsafe members."""
    status = path.stat()
    return _opened(path.resolve(), path, status.st_size, status.st_mtime_ns)


def open_inner(outer: Archive, name: str) -> Archive:
    """A tar archive that is a member of another archive; packed ones are unpacked into the cache. Raises as above."""
    return _opened_inner(outer, name)


@lru_cache(maxsize=32)  # the archives of a dataset: DomainNet has six and some lists
def _opened(place: Path, path: Path, size: int, mtime_ns: int) -> Archive:
    identity = f"{place}\0{size}\0{mtime_ns}"
    with place.open("rb") as file:
        start = file.read(64)
    if start[:2] == _GZIP:
        archive = open_tar(path, unpacked(identity, path, size, partial(gzip.GzipFile, place)))
    elif start[:2] == b"PK":
        archive = open_zip(path, os.open(place, os.O_RDONLY | os.O_CLOEXEC))
    elif problem := _no_tar(path, start):
        raise DatasetError(f"{path}: {problem}")
    else:  # also if it is called .tar.gz: ImageNet-V2's is a plain tar
        archive = open_tar(path, os.open(place, os.O_RDONLY | os.O_CLOEXEC))
    archive.identity = identity
    return archive


@lru_cache(maxsize=8)
def _opened_inner(outer: Archive, name: str) -> Archive:
    path, identity = Path(outer.where(name)), f"{outer.identity}\0{name}"
    if name.lower().endswith(".zip"):
        raise DatasetError(f"{path}: a zip archive in an archive cannot be looked into; unpack the outer one by hand")

    def opened() -> Stream:
        data = io.BytesIO(outer.read(name))
        return gzip.GzipFile(fileobj=data) if data.getbuffer()[:2] == _GZIP else data

    archive = open_tar(path, unpacked(identity, path, outer.size(name), opened))
    archive.identity = identity
    return archive


def _no_tar(path: Path, start: bytes) -> str | None:
    if not is_archive(path.name):
        return "expected a folder or an archive (.zip, .tar, .tar.gz, .tgz)"
    if start.lstrip()[:1] == b"<":
        return "is a web page, no archive: its site wants a visitor to confirm; get it with a browser"
    if path.name.lower().endswith(".zip"):
        return f"is no zip archive: it begins with {start[:4]!r}; get it again"
    return None
