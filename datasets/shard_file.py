"""Files that are there whole or not at all: shards, hashed while they are written, and small text files."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import IO

from webdataset.writer import TarWriter

from datasets.base import RawSample

MAX_SAMPLES = 1000
MAX_BYTES = 256 * 2**20


class OpenShard:
    """A webdataset shard that gets its name when it is closed; at most MAX_SAMPLES samples and MAX_BYTES of content."""

    def __init__(self, path: Path) -> None:
        self.path, self.count, self.content_bytes = path, 0, 0
        self._file = path.with_name(path.name + ".tmp").open("wb")
        self._hashing = _HashingFile(self._file)
        # Fixed times and owners: the same samples give the same bytes. pax headers appear only where a name needs them.
        self._tar = TarWriter(self._hashing, user="", group="", mode=0o644, mtime=0, encoder=False, format="PAX_FORMAT")

    def is_full(self, sample: RawSample) -> bool:
        """Whether `sample` must go into the next shard."""
        return self.count >= MAX_SAMPLES or self.content_bytes + len(sample.image) > MAX_BYTES

    def write(self, sample: RawSample) -> None:
        """Add a sample: its image, `.cls` and, if it has a caption, `.txt`."""
        members: dict[str, str | bytes] = {"__key__": sample.key, sample.extension: sample.image}
        members["cls"] = str(sample.label).encode("ascii")
        if sample.caption is not None:
            members["txt"] = sample.caption.encode("utf-8")
        self.content_bytes += self._tar.write(members)
        self.count += 1

    def close(self) -> tuple[int, int, str]:
        """Give the shard its name once it is on disk; returns samples, bytes and sha256."""
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        Path(self._file.name).replace(self.path)
        return self.count, self._hashing.bytes, self._hashing.digest.hexdigest()

    def abandon(self) -> None:
        """Remove what was written."""
        with contextlib.suppress(OSError):  # its last blocks may not fit on a full disk; they are thrown away anyway
            self._tar.close()
        self._file.close()
        Path(self._file.name).unlink()


class _HashingFile:
    """Passes writes on and hashes them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest, self.bytes = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.bytes += len(data)
        return self._file.write(data)


def write_atomic(path: Path, text: str) -> None:
    """Replace a file by `text` so that it is there whole or not at all, whatever happens."""
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
