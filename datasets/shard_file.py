"""Files that are there whole or not at all: shards, hashed while they are written, and small text files."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import platform
import tarfile
from pathlib import Path
from typing import IO, cast

from datasets.base import RawSample

MAX_SAMPLES = 1000
MAX_BYTES = 256 * 2**20


class OpenShard:
    """A webdataset shard that gets its name when it is closed.

    Until then it has a name of its machine and process, so that a worker that outlives a killed parent for a moment cannot write
    into the file of its successor.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.count = path, 0
        self._file = path.with_name(f"{path.name}.{platform.node()}-{os.getpid()}.tmp").open("wb")
        self._hashing = _HashingFile(self._file)
        # As webdataset's own writer does it, which would load torch. Fixed times and owners: the same samples give the
        # same bytes. pax headers appear only where a name needs them.
        file = cast("IO[bytes]", self._hashing)  # a tar that is written as a stream needs nothing but `write`
        self._tar = tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - `close` does

    def write(self, sample: RawSample) -> None:
        """Add a sample: its image, `.cls` and, if it has a caption, `.txt`, in the order of the extensions."""
        members = {sample.extension: sample.image, "cls": str(sample.label).encode("ascii")}
        if sample.caption is not None:
            members["txt"] = sample.caption.encode("utf-8")
        for extension, data in sorted(members.items()):
            member = tarfile.TarInfo(f"{sample.key}.{extension}")
            member.size, member.mode = len(data), 0o644
            self._tar.addfile(member, io.BytesIO(data))
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
        with contextlib.suppress(OSError):
            self._file.close()
        Path(self._file.name).unlink(missing_ok=True)


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
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
