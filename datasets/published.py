"""Read access to files as their authors publish them: a folder, or a tar archive that is never extracted.

Members of an archive are found by name in its listing and read in place. Anything in it that is no plain file or folder,
or whose name leads outside, is refused. A gzip archive is decompressed once into an anonymous temporary file, because
gzip cannot be read in any other order than its own.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import tempfile
import weakref
import zlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, Protocol, cast

from datasets import DatasetError


class Published(Protocol):
    """Files by path relative to the root, with '/' between the parts."""

    def exists(self, path: str) -> bool:
        """Whether there is a plain file of this path."""
        ...

    def read(self, path: str) -> bytes:
        """The content of a file. Raises FileNotFoundError."""
        ...

    def below(self, folder: str) -> list[str]:
        """Paths of all files below a folder, sorted; empty if there is no such folder."""
        ...

    def where(self, path: str) -> str:
        """The path with the place of the root before it, for messages."""
        ...


def open_published(source: Path, roots: Iterable[str]) -> Published:
    """The files at `source`, a folder or a .tar, .tar.gz or .tgz archive; `roots` are the folders expected at the top.

    An archive may have one folder around everything, which is then left out of all paths. Raises FileNotFoundError if
    nothing is there, and DatasetError for what is neither, or for an archive with unsafe members.
    """
    if source.is_dir():
        return _Folder(source)
    if not source.is_file():
        raise FileNotFoundError(f"{source} does not exist; expected the published folder or .tar archive there")
    status = source.stat()
    return _archive(source.resolve(), frozenset(roots), status.st_mtime_ns, status.st_size)


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root

    def exists(self, path: str) -> bool:
        return (self._root / path).is_file()

    def read(self, path: str) -> bytes:
        return (self._root / path).read_bytes()

    def below(self, folder: str) -> list[str]:
        found: list[str] = []
        if (self._root / folder).is_dir():
            # Links to folders are followed and unreadable folders raise: nothing is left out in silence.
            for top, _, names in os.walk(self._root / folder, onerror=_fail, followlinks=True):
                place = Path(top).relative_to(self._root)
                found += [(place / name).as_posix() for name in names]
        return sorted(found)

    def where(self, path: str) -> str:
        return str(self._root / path)


class _Tar:
    def __init__(self, source: Path, roots: frozenset[str]) -> None:
        self._source = source
        try:
            file = _seekable(source)
            weakref.finalize(self, file.close)
            self._archive = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 - lives as long as self
            members = self._archive.getmembers()
        except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise DatasetError(f"{source}: not a whole tar archive: {error}") from None
        if unsafe := [reason for member in members if (reason := _unsafe(member))]:
            raise DatasetError("\n".join([f"{source}: refused, it has {len(unsafe)} unsafe members", *unsafe]))
        files = {_normal(member.name): member for member in members if member.isfile()}
        prefix = _enclosing(files, roots)
        self._members = {name.removeprefix(prefix): member for name, member in files.items()}

    def exists(self, path: str) -> bool:
        return path in self._members

    def read(self, path: str) -> bytes:
        if path not in self._members:
            raise FileNotFoundError(f"{self.where(path)} does not exist")
        # A plain file, so extractfile gives a reader and never None.
        return cast("IO[bytes]", self._archive.extractfile(self._members[path])).read()

    def below(self, folder: str) -> list[str]:
        return sorted(name for name in self._members if name.startswith(folder + "/"))

    def where(self, path: str) -> str:
        return f"{self._source}:{path}"


def _fail(error: OSError) -> None:
    raise error


@lru_cache(maxsize=1)
def _archive(source: Path, roots: frozenset[str], mtime_ns: int, size: int) -> _Tar:
    """One archive stays open: each split of a dataset reads from it. A changed file is opened anew."""
    return _Tar(source, roots)


def _seekable(source: Path) -> IO[bytes]:
    file = source.open("rb")
    if file.read(2) != b"\x1f\x8b":
        file.seek(0)
        return file
    plain = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the archive that reads it
    try:
        with file, gzip.open(source) as packed:
            shutil.copyfileobj(packed, plain, 2**20)
    except BaseException:
        plain.close()
        raise
    plain.seek(0)
    return plain


def _unsafe(member: tarfile.TarInfo) -> str | None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        return f"{member.name}: its name leads outside the archive"
    if member.issym() or member.islnk():
        return f"{member.name}: is a link to {member.linkname}; pack the files themselves (tar --dereference)"
    if not (member.isfile() or member.isdir()):
        return f"{member.name}: is neither file nor folder"
    return None


def _normal(name: str) -> str:
    return str(PurePosixPath(name))  # drops './' and doubled slashes


def _enclosing(names: Iterable[str], roots: frozenset[str]) -> str:
    """'folder/' if all files but hidden ones lie in one folder that is none of `roots`, else ''."""
    tops = {name.partition("/")[0] for name in names if not name.startswith(".")}
    return f"{tops.pop()}/" if len(tops) == 1 and not tops & roots else ""
