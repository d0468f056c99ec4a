"""A folder of published files. Its links are followed, since whoever gives the folder made them."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from datasets import DatasetError
from datasets.sources.names import shown, unsafe_name


@dataclass(frozen=True, slots=True)
class FolderFiles:
    """Implements `datasets.base.Published`. Paths come from lists that others wrote, and must stay below the root."""

    root: Path

    def exists(self, path: str) -> bool:
        """Whether there is a plain file of this path."""
        if unsafe_name(path):
            return False
        try:
            return (self.root / path).is_file()
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            return False  # a list may hold a name longer than any file has

    def read(self, path: str) -> bytes:
        """The content of a file. Raises FileNotFoundError, DatasetError for a path that leads outside."""
        return self._path(path).read_bytes()

    def size(self, path: str) -> int:
        """Bytes of a file. Raises as `read` does."""
        return self._path(path).stat().st_size

    def state(self, path: str) -> tuple[int, int]:
        """(bytes, time of the last change in ns) of a file. Raises as `read` does."""
        status = self._path(path).stat()
        return status.st_size, status.st_mtime_ns

    def below(self, folder: str) -> list[str]:
        """Paths of all files below a folder, sorted. Raises OSError for a folder that cannot be read."""
        top = self._path(folder)
        found: list[str] = []
        if top.is_dir():
            _walk(top, f"{folder}/" if folder else "", (), found)
        return sorted(found)

    def where(self, path: str) -> str:
        """The path with the root before it, for messages."""
        return f"{self.root}/{shown(path)}" if path else str(self.root)

    def _path(self, path: str) -> Path:
        if reason := unsafe_name(path):
            raise DatasetError(f"{self.where(path)}: {reason} of {self.root}")
        return self.root / path


def _walk(folder: Path, prefix: str, around: tuple[tuple[int, int], ...], found: list[str]) -> None:
    """Add the files below `folder`; `around` are the folders it lies in, so that a link to one of them is noticed."""
    status = folder.stat()
    identity = (status.st_dev, status.st_ino)
    if identity in around:
        raise DatasetError(f"{folder}: is a link to a folder that it lies in; remove the link")
    with os.scandir(folder) as entries:
        for entry in entries:
            # Path, as entry.is_dir() raises an error for a link to itself.
            if entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and Path(entry.path).is_dir()):
                _walk(Path(entry.path), f"{prefix}{entry.name}/", (*around, identity), found)
            else:  # also a link to nothing or a pipe: reading it says so, passing over it would lose an image in silence
                found.append(prefix + entry.name)
