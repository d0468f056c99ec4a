"""What tar and zip archives have in common: a sorted listing, and reading members in place.

Reading never moves a shared file position (`os.pread`), so threads and forked processes may use one archive at once.
"""

from __future__ import annotations

import io
import os
import weakref
from array import array
from bisect import bisect_left
from pathlib import Path

from datasets import DatasetError
from datasets.sources.names import shown


class Window(io.RawIOBase):
    """A part of an open file, for the libraries that parse archives. `largest` bounds what one call may read, in bytes:
    a forged length in a header must not fill the memory."""

    def __init__(self, descriptor: int, start: int, size: int, largest: int) -> None:
        super().__init__()
        self._descriptor, self._start, self._size, self._largest = descriptor, start, size, largest
        self._position = 0

    def seekable(self) -> bool:
        """Yes."""
        return True

    def readable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Bytes from the start of the part."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of any file."""
        self._position = max(0, offset + (0, self._position, self._size)[whence])
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file. Raises ValueError for more than `largest` bytes."""
        left = max(0, self._size - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        if wanted > self._largest:
            raise ValueError(f"a header claims {wanted:,} bytes, the limit is {self._largest:,}")
        data = os.pread(self._descriptor, wanted, self._start + self._position)
        self._position += len(data)
        return data


class Listing:
    """Names, sorted, with a row of numbers each. 1.3 million of them take 200 MB; a dict of tuples would take 500."""

    def __init__(self, columns: int) -> None:
        self.names: list[str] = []
        self._columns = [array("q") for _ in range(columns)]

    def add(self, name: str, *row: int) -> None:
        """Add a name; `sort` has to follow the last one."""
        self.names.append(name)
        for column, value in zip(self._columns, row, strict=True):
            column.append(value)

    def sort(self) -> list[str]:
        """Sort by name; returns the names that occur more than once."""
        order = sorted(range(len(self.names)), key=self.names.__getitem__)
        self.names = [self.names[i] for i in order]
        self._columns = [array("q", (column[i] for i in order)) for column in self._columns]
        return [a for a, b in zip(self.names, self.names[1:], strict=False) if a == b]

    def find(self, name: str) -> tuple[int, ...] | None:
        """The row of a name."""
        at = bisect_left(self.names, name)
        if at == len(self.names) or self.names[at] != name:
            return None
        return tuple(column[at] for column in self._columns)

    def below(self, folder: str) -> list[str]:
        """All names that begin with 'folder/', sorted; all there are for ''."""
        if not folder:
            return list(self.names)
        after = chr(ord("/") + 1)
        return self.names[bisect_left(self.names, f"{folder}/") : bisect_left(self.names, folder + after)]


class Archive:
    """Implements `datasets.base.Published`, with names as they are in the archive."""

    identity = ""
    """differs between archives, and between versions of one"""

    def __init__(self, path: Path, listing: Listing, descriptor: int) -> None:
        self.path, self.listing, self.descriptor = path, listing, descriptor
        weakref.finalize(self, os.close, descriptor)

    def exists(self, path: str) -> bool:
        """Whether there is a plain file of this path."""
        return self.listing.find(path) is not None

    def read(self, path: str) -> bytes:
        """The content of a member. Raises FileNotFoundError, DatasetError if it is damaged or too large."""
        return self._content(path, self._row(path))

    def size(self, path: str) -> int:
        """Bytes of a member after decompression. Raises FileNotFoundError."""
        return self._row(path)[0]

    def state(self, path: str) -> tuple[int, int]:
        """(bytes after decompression, 0): the archive tells when it was changed. Raises FileNotFoundError."""
        return self.size(path), 0

    def below(self, folder: str) -> list[str]:
        """Paths of all files below a folder, sorted."""
        return self.listing.below(folder)

    def where(self, path: str) -> str:
        """'archive:member', for messages."""
        return f"{self.path}:{shown(path)}"

    def enclosing(self, roots: frozenset[str]) -> str:
        """'folder/' if all files but hidden ones lie in one folder that is none of `roots`, else ''."""
        tops = {name.partition("/")[0] for name in self.listing.names}
        tops = {top for top in tops if not top.startswith(".") and top != "__MACOSX"}
        alone = len(tops) == 1 and not tops & roots and not self.exists(next(iter(tops)))
        return f"{tops.pop()}/" if alone else ""

    def damaged(self, path: str, reason: str) -> DatasetError:
        """The error for a member that cannot be read as it should."""
        return DatasetError(f"{self.where(path)}: {reason}; get the archive again")

    def pread(self, size: int, offset: int, path: str) -> bytes:
        """`size` bytes of the file at `offset`. Raises DatasetError if it ends before."""
        data = os.pread(self.descriptor, size, offset)
        while 0 < len(data) < size:  # a call returns 2 GiB at most
            more = os.pread(self.descriptor, size - len(data), offset + len(data))
            if not more:
                break
            data += more
        if len(data) != size:
            raise self.damaged(
                path, f"the archive ends at byte {offset + len(data):,}, expected {offset + size:,} or more"
            )
        return data

    def _row(self, path: str) -> tuple[int, ...]:
        row = self.listing.find(path)
        if row is None:
            raise FileNotFoundError(f"{self.where(path)} does not exist")
        return row

    def _content(self, path: str, row: tuple[int, ...]) -> bytes:
        """The content of a member; its row begins with its size."""
        raise NotImplementedError
