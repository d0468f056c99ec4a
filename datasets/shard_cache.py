"""Shards of remote datasets on this machine: fetched whole, once for all processes of the node, named by their content.

`<cache>/shards/<sha256>.tar` is there whole and verified, or not at all; one that was damaged since is fetched again. One
process fetches a shard while others wait for it at a lock, which the system opens when its holder dies. Over the limit,
shards go that were not read for longest, never one that a process holds. The folder may be deleted at any time: what is
missing is fetched again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar
from weakref import WeakSet

from datasets import DatasetError, intact, storage
from datasets.node_cache import cache_folder, locked

_log = logging.getLogger(__name__)

LIMIT_VARIABLE = "ROBUST_FT_BENCH_SHARD_CACHE_GIB"
"""Environment variable: GiB that all cached shards may take; without it they may take as much as they leave free."""
PARALLEL = 8
"""Shards fetched at a time by one process."""
_TOUCH_SECONDS = 60
_STALE_SECONDS = 3600  # a part file is written to all the time; its writer gives up long before that

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class RemoteShard:
    """A shard that lies at `url`; `bytes` and `sha256` are those of the file."""

    url: str
    sha256: str
    bytes: int

    @property
    def path(self) -> Path:
        """Where it lies on this machine when it is here."""
        return _folder() / f"{self.sha256}.tar"

    def open(self) -> int:
        """A descriptor of the whole shard, fetched if it is not here; good until closed, whatever becomes of the file.

        Raises StorageError if it cannot be fetched or is not what it should be.
        """
        found = self._open_here()
        return self._fetched() if found is None else found

    def _open_here(self, clear: bool = False) -> int | None:
        """Open it if it is here and right; under its lock, `clear` removes what is not."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        if problem := self._problem(descriptor):
            os.close(descriptor)
            if clear:
                _log.warning("%s: %s; it is fetched again from %s", self.path, problem, self.url)
                self.path.unlink(missing_ok=True)
            return None
        status = os.fstat(descriptor)
        if time.time() - status.st_atime > _TOUCH_SECONDS:
            with contextlib.suppress(PermissionError):  # of another user
                os.utime(descriptor, ns=(time.time_ns(), status.st_mtime_ns))
        return descriptor

    def _problem(self, descriptor: int) -> str | None:
        """What has become of it since it was fetched, if anything has."""
        if (size := os.fstat(descriptor).st_size) != self.bytes:
            return f"has {size:,} bytes, expected {self.bytes:,}"
        try:
            found = intact.sha256_of(self.path, descriptor, self.sha256)
        except OSError as error:
            return f"cannot be read: {error}"
        return None if found == self.sha256 else f"sha256 is {found}, expected {self.sha256}"

    def _fetched(self) -> int:
        with locked(_folder() / f"{self.sha256}.lock"):
            found = self._open_here(clear=True)  # another process may have been faster
            if found is not None:
                return found
            with _in_cache(lambda: _reserve(self)) as part:
                try:
                    storage.fetch(self.url, part, self.bytes, self.sha256)
                    part.flush()
                    os.fsync(part.fileno())
                    with contextlib.suppress(FileNotFoundError):  # somebody deleted the folder; the content is open
                        Path(part.name).rename(self.path)
                    intact.remember(self.path, part.fileno(), self.sha256)
                    _in_cache(lambda: _make_room(0))  # what was fetched side by side may be too much together
                    return os.dup(part.fileno())
                finally:
                    Path(part.name).unlink(missing_ok=True)


def hold(shards: Collection[RemoteShard]) -> bool:
    """Keep shards, fetched or not yet, from being removed for as long as these objects live.

    False, and nothing is held, if they do not fit the limit together with what the node's processes hold already.
    """
    if not shards:
        return True

    def attempt() -> bool:
        wanted = _held() | {shard.sha256: shard.bytes for shard in shards}
        if sum(wanted.values()) > _limit():
            return False
        _HOLDER.add(shards)
        return True

    return _in_cache(attempt)


def each(shards: Sequence[S], use: Callable[[S], T], threads: int = PARALLEL) -> Iterator[T]:
    """`use` of every shard in order, on threads; what comes after the first that fails is given up."""
    with ThreadPoolExecutor(threads, thread_name_prefix="fetch") as pool:
        try:
            yield from pool.map(use, shards)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def fetch(shard: RemoteShard) -> None:
    """Have a shard on this machine, at least for a moment."""
    os.close(shard.open())


def _folder() -> Path:
    return cache_folder() / "shards"


def _limit() -> float:
    """Bytes that all cached shards may take."""
    text = os.environ.get(LIMIT_VARIABLE)
    if not text:
        return (shutil.disk_usage(_folder()).free + sum(size for _, size, _ in _files())) / 2
    try:
        limit = float(text) * 2**30
    except ValueError:
        limit = -1
    if not 0 <= limit < float("inf"):
        raise DatasetError(f"${LIMIT_VARIABLE} must be a number of GiB, as 200 or 0.5, it is {text!r}")
    return limit


def _files() -> list[tuple[float, int, Path]]:
    """(time of the last use, bytes, path) of shards and of those that are being fetched."""
    found = []
    for path in _folder().iterdir():
        if path.suffix in (".tar", ".part"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                found.append((max(status.st_atime, status.st_mtime), status.st_size, path))
    return found


def _reserve(shard: RemoteShard) -> IO[bytes]:
    """A new file of the shard's size, counted from now on; older shards go where the limit asks for it. Holds the cache lock."""
    _make_room(shard.bytes)
    descriptor, name = tempfile.mkstemp(suffix=".part", prefix=f"{shard.sha256[:16]}-", dir=_folder())
    os.fchmod(descriptor, 0o644)
    os.truncate(descriptor, shard.bytes)
    os.close(descriptor)
    return Path(name).open("r+b")


def _make_room(needed: int) -> None:
    """Remove what was not used for longest until `needed` bytes fit, or nothing is left that may go. Holds the cache lock."""
    files, held, limit = sorted(_files()), _held(), _limit()
    total = needed + sum(size for _, size, _ in files)
    for used, size, path in files:
        stale = path.suffix == ".part" and time.time() - used > _STALE_SECONDS
        old = path.suffix == ".tar" and total > limit and path.stem not in held
        if stale or old:
            path.unlink(missing_ok=True)
            total -= size


def _held() -> dict[str, int]:
    """sha256 -> bytes of the shards that living processes hold, this one included. Holds the cache lock."""
    _HOLDER.publish()
    found: dict[str, int] = {}
    for path in _folder().glob("*.held"):
        with contextlib.suppress(FileNotFoundError), path.open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # its process lives
                found |= json.load(file)
            else:
                path.unlink(missing_ok=True)
    return found


class _Holder:
    """The shards that this process holds, in a file `*.held` that it keeps locked: the lock ends with the process."""

    def __init__(self) -> None:
        self._shards: WeakSet[RemoteShard] = WeakSet()
        self._descriptor, self._process, self._published = -1, 0, ""

    def add(self, shards: Collection[RemoteShard]) -> None:
        """Hold these too. Under the cache lock, as `publish`."""
        self._shards.update(shards)
        self.publish()

    def publish(self) -> None:
        """Tell the other processes what is still in use here."""
        text = json.dumps({shard.sha256: shard.bytes for shard in list(self._shards)})
        if self._is_open() and text == self._published:
            return
        if not self._is_open():
            if not self._shards:
                return
            self._descriptor, _ = tempfile.mkstemp(suffix=".held", prefix=f"{os.getpid()}-", dir=_folder())
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            self._process = os.getpid()
        os.truncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text.encode(), 0)
        self._published = text

    def _is_open(self) -> bool:
        """Whether the file is this process's (not its parent's) and lies in the folder that is in use now."""
        if self._descriptor < 0 or self._process != os.getpid():
            return False
        try:
            mine = os.fstat(self._descriptor).st_ino
            return any(path.stat().st_ino == mine for path in _folder().glob(f"{os.getpid()}-*.held"))
        except FileNotFoundError:
            return False


_HOLDER = _Holder()


def _in_cache(action: Callable[[], T]) -> T:
    """Do something under the lock of the whole cache; once more if somebody deletes the folder meanwhile."""
    for _ in range(10):
        with contextlib.suppress(FileNotFoundError), locked(_folder() / "cache.lock"):
            return action()
    raise DatasetError(f"the folder {_folder()} is deleted over and over again")
