"""Which shards this node has found to be what `dataset.json` says, so that each is hashed once and not for every trial.

A shard is hashed before anything of it is used. What was good then is remembered by path, size, time of modification and inode,
in this process and in `<cache>/checked/`: of 256 small files there each is the journal of some shards and, while one of them
is being hashed, the lock that others wait at. A journal is only ever believed if it has the very line that is looked for;
so one that is damaged, half written or deleted means that shards are hashed again, and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from datasets import DatasetError
from datasets.node_cache import cache_folder, locked

_log = logging.getLogger(__name__)

_MOST = 2**16
"""Bytes of a journal, some 300 shards; a longer one begins anew."""
_State = tuple[str, int, int, int]
_known: dict[str, tuple[_State, str]] = {}
"""Path -> the state in which this process has found the file to be right, and its hash."""
_told: set[Path] = set()


@dataclass(frozen=True, slots=True)
class LocalShard:
    """A shard that is read where it lies; `todo` is what to do if it is not what it should be."""

    path: Path
    sha256: str
    todo: str

    def open(self) -> int:
        """A descriptor of the shard. Raises DatasetError that names it if it is missing, unreadable or of another hash."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise DatasetError(f"{self.path}: missing, expected sha256 {self.sha256}; {self.todo}") from None
        with contextlib.ExitStack() as on_error:
            on_error.callback(os.close, descriptor)
            try:
                found = sha256_of(self.path, descriptor, self.sha256)
            except OSError as error:
                raise DatasetError(f"{self.path}: cannot be read: {error.strerror or error}; {self.todo}") from None
            if found != self.sha256:
                raise DatasetError(f"{self.path}: sha256 is {found}, expected {self.sha256}; {self.todo}")
            on_error.pop_all()
        return descriptor


def sha256_of(path: Path, descriptor: int, expected: str) -> str:
    """The hash of an open shard; it is read only if the node does not know already that it is `expected`."""
    state = _state(path, descriptor)
    if _known.get(state[0]) == (state, expected):
        return expected
    with contextlib.ExitStack() as stack:
        journal = _journal(stack, path)
        line = _line(state, expected)
        if journal is not None and line in os.pread(journal, 2 * _MOST, 0).splitlines():
            found = expected
        else:
            found = _digest(descriptor)
            if journal is not None and found == expected:
                _add(journal, line)
    if found == expected:
        _known[state[0]] = state, found  # the state before it was read: changed meanwhile, it is looked at again
    return found


def remember(path: Path, descriptor: int, sha256: str) -> None:
    """Note a shard that was hashed while it was written, and is whole now."""
    state = _state(path, descriptor)
    _known[state[0]] = state, sha256
    with contextlib.ExitStack() as stack:
        if (journal := _journal(stack, path)) is not None:
            _add(journal, _line(state, sha256))


def _state(path: Path, descriptor: int) -> _State:
    status = os.fstat(descriptor)
    return os.fspath(path), status.st_size, status.st_mtime_ns, status.st_ino


def _line(state: _State, sha256: str) -> bytes:
    """With the machine's name: home folders, and so caches, may be shared by machines whose disks are not."""
    path, *rest = state
    return ascii([sha256, platform.node(), *rest, str(Path(path).resolve())]).encode()


def _journal(stack: contextlib.ExitStack, path: Path) -> int | None:
    """The journal of a shard, open and locked until the stack ends; None, with a line in the log, if it cannot be used."""
    name = hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:2]
    folder = cache_folder() / "checked"
    try:
        return stack.enter_context(locked(folder / name))
    except OSError as error:
        _tell(folder, error)
        return None


def _add(journal: int, line: bytes) -> None:
    try:
        if os.fstat(journal).st_size > _MOST:
            os.truncate(journal, 0)
        # The first line end closes what a killed process may have left.
        os.pwrite(journal, b"\n" + line + b"\n", os.fstat(journal).st_size)
    except OSError as error:
        _tell(cache_folder() / "checked", error)


def _tell(folder: Path, error: OSError) -> None:
    if folder not in _told:
        _told.add(folder)
        reason = error.strerror or error
        _log.warning("%s cannot be used (%s); every process hashes every shard that it reads", folder, reason)


def _digest(descriptor: int) -> str:
    with open(descriptor, "rb", closefd=False) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
