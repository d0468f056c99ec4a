"""The unit of work of `prepare`: entries in, one shard on disk and its record out. Any process may do it.

The bytes of a shard are a function of its entries, the published files and `short_side` alone.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import DatasetError, NoRoomError
from datasets.base import Dataset, Entry, Published, RawSample
from datasets.images import BadImageError, stored_image, strict_pil
from datasets.parallel import Tick
from datasets.shard_file import OpenShard
from datasets.shards import ShardInfo, file_sha256

_OF_THE_MACHINE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""What may go wrong while an image is read and is not the image's fault."""


@dataclass(frozen=True, slots=True)
class BadImage:
    """An image that was left out."""

    domain: str
    split: str
    key: str
    path: str
    problem: str

    def __str__(self) -> str:
        return f"{self.domain}/{self.split}: image {self.path}: {self.problem}"


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """What came of a `ShardTask`."""

    entries: str
    """sha256 of what the shard was made from"""
    shard: ShardInfo | None
    """None if all its images are bad"""
    bad: tuple[BadImage, ...] = ()
    reencoded: int = 0
    """images that were stored as PNG because decoders disagree about how they were published"""


@dataclass(frozen=True, slots=True)
class ShardTask:
    """One shard to be written, or to be hashed again if `known` says that it was finished before."""

    name: str
    domain: str
    split: str
    entries: tuple[Entry, ...]
    files: str = ""
    """sha256 of the sizes and times of the files that the images lie in"""
    known: ShardRecord | None = None

    def digest(self) -> str:
        """sha256 of the entries, and of what tells that one of their files was changed."""
        rows = [(e.key, e.label, e.path, e.size, e.caption) for e in self.entries]
        return hashlib.sha256(json.dumps([self.files, rows]).encode("utf-8")).hexdigest()


@dataclass
class ShardMaker:
    """Writes shards of one dataset below `to`; called in worker processes."""

    dataset: Dataset
    to: Path
    source: Path | None
    short_side: int | None
    domains: Sequence[str]
    _published: Published | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_published": None}  # open archives stay in their process

    def published(self) -> Published | None:
        """The published files, opened once in a process. Raises FileNotFoundError, DatasetError."""
        if self._published is None and self.source is not None:
            from datasets.sources import open_source  # generated datasets do without

            wanted = [f for f in self.dataset.files if not f.domains or set(f.domains) & set(self.domains)]
            self._published = open_source(self.source, wanted, self.dataset.roots)
        return self._published

    def __call__(self, task: ShardTask, tick: Tick) -> ShardRecord:
        """Write one shard, or confirm it. Raises OSError, which names the shard, if it cannot be written."""
        if task.known is not None and self._is_whole(task.known):
            tick(len(task.entries))
            return task.known
        path, published = self.to / task.name, self.published()
        path.parent.mkdir(parents=True, exist_ok=True)
        shard = OpenShard(path)
        bad: list[BadImage] = []
        reencoded = 0
        try:
            with strict_pil():
                for number, entry in enumerate(task.entries, start=1):
                    try:
                        stored = stored_image(*self._read(entry, published), self.short_side)
                    except BadImageError as error:
                        bad.append(BadImage(task.domain, task.split, entry.key, entry.path, str(error)))
                    else:
                        reencoded += stored.reencoded
                        shard.write(RawSample(entry.key, stored.data, stored.extension, entry.label, entry.caption))
                    tick(number)
            info = ShardInfo(task.name, task.domain, task.split, *shard.close()) if shard.count else None
        except OSError as error:
            if error.filename is None:  # of a write: which disk is full should be said
                error.filename = str(path)
            raise
        finally:
            shard.abandon()  # nothing is left of it once it is closed
        return ShardRecord(task.digest(), info, tuple(bad), reencoded)

    def _read(self, entry: Entry, published: Published | None) -> tuple[bytes, str]:
        try:
            return self.dataset.read(entry, published)
        except NoRoomError:
            raise
        except (FileNotFoundError, DatasetError) as error:
            raise BadImageError(f"cannot be read: {error}") from None
        except OSError as error:
            if error.errno in _OF_THE_MACHINE:
                raise
            raise BadImageError(f"cannot be read: {error.strerror or error}") from None

    def _is_whole(self, record: ShardRecord) -> bool:
        if record.shard is None:
            return False
        path = self.to / record.shard.name
        whole = path.is_file() and path.stat().st_size == record.shard.bytes
        return whole and file_sha256(path) == record.shard.sha256
