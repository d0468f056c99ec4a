"""Downloads one file so that an interruption at any moment costs only what is not yet on disk.

`<name>.part` grows, `<name>.part.json` says which address and version it comes from. The whole file gets its name in one
step, after its size and checksum were found right; a wrong one is kept as `<name>.bad` and never taken. `.<name>.from.json`
beside the whole file says where it came from.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

import requests

from datasets import DatasetError
from datasets.base import PublishedFile
from datasets.sources.address import origin, same_place, without_secrets
from datasets.sources.remote import Answer, ChangedError, GoneError, TransientError, opened

Progress = Callable[[str, int, int | None], None]
"""Called after each chunk with the file's name, its bytes done and its bytes in all, None if the server does not say."""

_SPARE_BYTES = 64 * 2**20  # stay away from a full disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to bear with a server. Times are in seconds."""

    attempts: int = 6
    """in a row that bring nothing new, before an address is given up"""
    first_wait: float = 1.0
    """doubled after each such attempt, then reduced by a random part of up to a half"""
    longest_wait: float = 300.0
    timeout: float = 60.0
    """without a single byte"""

    def wait(self, failures: int) -> float:
        """How long to wait after so many failures."""
        longest = min(self.longest_wait, self.first_wait * 2.0 ** (failures - 1))
        return longest * random.uniform(0.5, 1.0)


@dataclass(frozen=True, slots=True)
class _State:
    """Where the bytes of a file come from."""

    url: str
    """as `origin` gives it"""
    version: str
    total: int | None

    @property
    def is_strong(self) -> bool:
        """Whether version and size tell this content from all others at the same place: an ETag that is no weak one."""
        return self.version.startswith('"') and self.total is not None


def transfer(
    session: requests.Session,
    file: PublishedFile,
    urls: list[str],
    target: Path,
    patience: Patience,
    progress: Progress | None,
) -> None:
    """Download a file to `target` from the first of `urls` that gives it whole.

    Raises DatasetError that names what was wrong with each address, or if the disk is too small.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    problems = []
    for url in urls:
        try:
            with _part(target).open("r+b" if _part(target).exists() else "w+b") as part:
                _Transfer(session, file, url, target, part, patience, progress).run()
        except GoneError as error:
            problems.append(f"{without_secrets(url)}: {error}")
        else:
            return
    raise DatasetError(f"{file.name} could not be downloaded: {'; '.join(problems)}")


@dataclass
class _Transfer:
    session: requests.Session
    file: PublishedFile
    url: str
    target: Path
    part: IO[bytes]
    patience: Patience
    progress: Progress | None

    def run(self) -> None:
        """Download, check and name the file. Raises GoneError if this address does not give it."""
        furthest, failures = 0, 0
        while not self._is_whole():
            try:
                self._attempt()
            except TransientError as error:
                failures = 1 if self._size() > furthest else failures + 1
                furthest = max(furthest, self._size())
                if failures >= self.patience.attempts:
                    raise GoneError(f"{error} (attempt {failures} of {self.patience.attempts})") from None
                if error.wait > self.patience.longest_wait:
                    raise GoneError(f"{error}, and asks to come back in {error.wait:.0f} s") from None
                time.sleep(max(error.wait, self.patience.wait(failures)))
            else:
                break
        self._check()
        os.fsync(self.part.fileno())
        state = self._state() or _State(origin(self.url), "", None)
        # A file of that name that came from elsewhere goes first: at no moment does a note stand beside another's content.
        self.target.unlink(missing_ok=True)
        _write(_origin_file(self.target), replace(state, total=self._size()))
        _part(self.target).rename(self.target)
        _state_file(self.target).unlink(missing_ok=True)

    def _attempt(self) -> None:
        """Get what is missing, in one request."""
        state, have = self._state(), self._size()
        if state is None or not self._may_continue(state):
            state, have = _State(origin(self.url), "", None), 0
        version = state.version if have else ""
        try:
            with opened(self.session, self.url, have, version, self.patience.timeout) as answer:
                if have and answer.start and (answer.version, answer.total) != (state.version, state.total):
                    raise ChangedError("its content changed meanwhile")
                if answer.start == 0:
                    self._begin(_State(origin(self.url), answer.version, answer.total))
                self._take(answer)
        except ChangedError:
            self._begin(_State(origin(self.url), "", None))
            raise

    def _may_continue(self, state: _State) -> bool:
        """Not what came from elsewhere, nor if nothing would tell that the content changed."""
        if state.url == origin(self.url):
            return bool(state.version or self.file.checksum)
        return same_place(state.url, origin(self.url)) and state.is_strong  # signed anew, say

    def _take(self, answer: Answer) -> None:
        have = answer.start
        self._check_room(answer.total, have)
        self.part.seek(have)
        for chunk in answer.chunks:
            have += len(chunk)
            if self.file.bytes is not None and have > self.file.bytes:
                raise GoneError(f"sends more than {self.file.bytes:,} bytes")
            self._write(chunk)
            if self.progress is not None:
                self.progress(self.file.name, have, answer.total if answer.total is not None else self.file.bytes)
        if answer.total is not None and have != answer.total:
            raise TransientError(f"ended at byte {have:,} of {answer.total:,}")

    def _check_room(self, total: int | None, have: int) -> None:
        if total is None:
            return
        if self.file.bytes is not None and total != self.file.bytes:
            raise GoneError(f"offers {total:,} bytes, expected {self.file.bytes:,}")
        free = shutil.disk_usage(self.target.parent).free
        if total - have + _SPARE_BYTES > free:
            raise DatasetError(
                f"{self.file.name}: {total - have:,} bytes are still to be downloaded to {self.target.parent}, "
                f"where {free:,} are free; make room or give another folder"
            )

    def _write(self, chunk: bytes) -> None:
        try:
            self.part.write(chunk)
            self.part.flush()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise DatasetError(f"{self.file.name}: no room left in {self.target.parent}") from None

    def _check(self) -> None:
        problem = wrong(_part(self.target), self.file)
        if problem:
            bad = self.target.with_name(self.target.name + ".bad")
            _part(self.target).rename(bad)
            _state_file(self.target).unlink(missing_ok=True)
            raise GoneError(f"{problem}; kept as {bad}")

    def _begin(self, state: _State) -> None:
        """Start over. The state is written before the first byte, so that no byte has an unknown origin."""
        self.part.truncate(0)
        self.part.seek(0)
        _write(_state_file(self.target), state)

    def _state(self) -> _State | None:
        return _read(_state_file(self.target))

    def _size(self) -> int:
        return os.fstat(self.part.fileno()).st_size

    def _is_whole(self) -> bool:
        state = self._state()
        return (
            state is not None
            and state.url == origin(self.url)
            and state.total is not None
            and self._size() == state.total
        )


def is_from_elsewhere(session: requests.Session, path: Path, urls: list[str], patience: Patience) -> bool:
    """Whether a file that is there was downloaded from an address that is none of `urls`, so that it may be another one.

    One without a note, or of another size than the note says, was put there by hand. The same place with another query is
    asked once whether it still has the same content.
    """
    state = _read(_origin_file(path))
    if state is None or state.total != path.stat().st_size or state.url in map(origin, urls):
        return False
    near = [url for url in urls if same_place(state.url, origin(url))]
    return not (state.is_strong and any(_has(session, url, state, patience) for url in near))


def _has(session: requests.Session, url: str, state: _State, patience: Patience) -> bool:
    try:
        with opened(session, url, 0, "", patience.timeout) as answer:
            return (answer.version, answer.total) == (state.version, state.total)
    except (GoneError, TransientError):
        return False


def wrong(path: Path, file: PublishedFile) -> str | None:
    """What tells a file on disk from the published one: size or checksum, found and expected. None if nothing does."""
    size = path.stat().st_size
    if file.bytes is not None and size != file.bytes:
        return f"it has {size:,} bytes, expected {file.bytes:,}"
    if file.checksum is None:
        return None
    kind, _, expected = file.checksum.partition(":")
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, kind).hexdigest()
    return None if found == expected.lower() else f"its {kind} is {found}, expected {expected.lower()}"


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _state_file(target: Path) -> Path:
    return target.with_name(target.name + ".part.json")


def _origin_file(target: Path) -> Path:
    return target.with_name(f".{target.name}.from.json")  # hidden: it lies among published files


def _write(path: Path, state: _State) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(json.dumps(asdict(state)), encoding="utf-8")
    temporary.replace(path)


def _read(path: Path) -> _State | None:
    try:
        return _State(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
