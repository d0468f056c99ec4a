"""One file of decoded images that many processes read, mapped into memory, while several add to it.

The file is a header, a table of entries and then the pixels, only ever appended. An entry (32 bytes) says where an image
lies, its shape, a checksum of its pixels and one of itself. What makes it safe:

- To add an image, a process takes the file's lock, which the system opens when its holder dies, writes the pixels at the
  end of the file, and then the entry. Killed in between, it leaves bytes that no entry names.
- Nothing that an entry names is ever written to again, so pixels that were right once stay right.
- A reader takes no lock. An entry that is half written fails its own checksum and counts as missing. Pixels are checked
  when this process reads them for the first time: after a crash of the machine, or damage on the disk, they count as
  missing, and the next image added under that key gets a new place and replaces the entry.
- The header and the empty table are written to another name and linked to this one when they are whole.
- A deleted file stays readable and writable for those who have it open. It must not be shortened in place: reading what
  is mapped but gone is a fault of the process (SIGBUS). Nothing here does that.

Images may lie column after column, where they are not higher than wide: so `datasets.resample` is fastest.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import secrets
import struct
import threading
import zlib
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from datasets.decoding import Pixels

_MAGIC = b"rftb pixels 1\n\0\0"
_HEADER = struct.Struct("<16sQI")
_ENTRY = struct.Struct("<QQIIII")  # key, place, height, width, checksum of the pixels, checksum of the entry
_NAMED = struct.Struct("<QQIII")
_EMPTY = bytes(_ENTRY.size)
_PAGE = 4096

REMAP_AFTER = 256
"""Images added since the file was mapped are copied; after so many such reads it is mapped anew."""


class PixelFile:
    """Images by a whole number above 0 and below 2**63, which the caller chooses; any number of threads may use it."""

    def __init__(self, path: Path, count: int, columns: bool = False) -> None:
        """Open or make the file for `count` images; one that is damaged or of another kind is made anew. Raises OSError.

        `columns`: images that are no higher than wide are stored column after column.
        """
        self.path = path
        self._columns = columns
        self._slots = 1 << max(4, (2 * count - 1).bit_length())
        self._start = -(-(_PAGE + self._slots * _ENTRY.size) // _PAGE) * _PAGE
        self._descriptor = self._opened()
        self._map = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
        self._beyond = 0
        self._lock = threading.Lock()
        self._right = array("Q", bytes(8 * self._slots))
        """for each slot the place whose pixels this process has checked"""
        self._wrong: set[int] = set()
        """places whose pixels are not what the entry says"""

    def __del__(self) -> None:
        """Arrays that were handed out keep their mapping, not the descriptor."""
        with contextlib.suppress(OSError, AttributeError):
            os.close(self._descriptor)

    def is_linked(self) -> bool:
        """Whether the file is still the one of its name."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def get(self, key: int) -> Pixels | None:
        """The image (H, W, 3), read-only and without a copy; None if it is not here, or damaged."""
        for slot in self._probe(key):
            entry = _ENTRY.unpack_from(self._map, _PAGE + slot * _ENTRY.size)
            if entry[0] == key and (self._right[slot] == entry[1] or self._is_whole(slot)):
                # Read again: it may have been half written before.
                return self._pixels(slot, *_ENTRY.unpack_from(self._map, _PAGE + slot * _ENTRY.size)[1:5])
            if not any(entry):
                return None
        return None

    def put(self, key: int, image: Pixels, allow: Callable[[int], bool]) -> bool:
        """Add an image (H, W, 3) unless it is here; False if `allow` says no to its bytes. Raises OSError (disk full)."""
        height, width = image.shape[:2]
        lines = np.ascontiguousarray(image.transpose(1, 0, 2) if self._columns and width >= height else image)
        data = lines.data.cast("B")
        checksum = zlib.crc32(data)
        with self._locked():
            slot = self._slot_for(key)
            if slot is None:
                return True
            if not allow(data.nbytes):
                return False
            place = os.fstat(self._descriptor).st_size
            _write(self._descriptor, data, place)
            named = _NAMED.pack(key, place, height, width, checksum)
            _write(
                self._descriptor,
                memoryview(named + struct.pack("<I", zlib.crc32(named))),
                _PAGE + slot * _ENTRY.size,
            )
        return True

    def _probe(self, key: int) -> Iterator[int]:
        """The slots where an entry may be, the first that is empty being the last to look at."""
        first = (key * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF) >> 20
        return ((first + i) & (self._slots - 1) for i in range(self._slots))

    def _slot_for(self, key: int) -> int | None:
        """Where the entry of a new image goes; None if the image is here. The lock is held."""
        free = None
        for slot in self._probe(key):
            entry = self._map[_PAGE + slot * _ENTRY.size : _PAGE + (slot + 1) * _ENTRY.size]
            if entry == _EMPTY:
                return slot if free is None else free
            if not self._is_whole(slot):
                free = slot if free is None else free  # left by a crash of the machine
            elif int.from_bytes(entry[:8], "little") == key:
                place = int.from_bytes(entry[8:16], "little")
                return (
                    slot if place in self._wrong or self._end_of(entry) > os.fstat(self._descriptor).st_size else None
                )
        return free

    def _is_whole(self, slot: int) -> bool:
        at = _PAGE + slot * _ENTRY.size
        return zlib.crc32(self._map[at : at + _NAMED.size]) == int.from_bytes(
            self._map[at + _NAMED.size : at + _ENTRY.size], "little"
        )

    @staticmethod
    def _end_of(entry: bytes) -> int:
        _, place, height, width, _ = _NAMED.unpack_from(entry)
        return int(place + 3 * height * width)

    def _pixels(self, slot: int, place: int, height: int, width: int, checksum: int) -> Pixels | None:
        size = 3 * height * width
        if place + size <= len(self._map):
            flat = np.frombuffer(self._map, np.uint8, size, place)
        else:
            self._beyond += 1
            flat = np.frombuffer(os.pread(self._descriptor, size, place), np.uint8)
            if len(flat) < size:
                return None
            if self._beyond % REMAP_AFTER == 0:
                self._map = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
        if self._right[slot] != place:
            if zlib.crc32(flat.data) != checksum:
                self._wrong.add(place)
                return None
            self._right[slot] = place
        if self._columns and width >= height:
            return flat.reshape(width, height, 3).transpose(1, 0, 2)
        return flat.reshape(height, width, 3)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock:  # the file's lock does not keep threads of one process apart
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _opened(self) -> int:
        kind = 2 * self._slots + self._columns
        header = _HEADER.pack(_MAGIC, kind, zlib.crc32(_MAGIC + kind.to_bytes(8, "little")))
        for _ in range(100):
            with contextlib.suppress(FileNotFoundError):
                descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
                whole = os.fstat(descriptor).st_size >= self._start
                if whole and os.pread(descriptor, len(header), 0) == header:
                    return descriptor
                os.close(descriptor)
                self.path.unlink()
            self._make(header)
        raise OSError(f"{self.path} is deleted as soon as it is made")

    def _make(self, header: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        begun = self.path.with_name(f"{self.path.name}.{secrets.token_hex(6)}.part")
        try:
            with begun.open("xb") as file:
                file.write(header)
                file.truncate(self._start)
            with contextlib.suppress(FileExistsError):
                os.link(begun, self.path)
        finally:
            begun.unlink(missing_ok=True)


def _write(descriptor: int, data: memoryview, place: int) -> None:
    while data:
        done = os.pwrite(descriptor, data, place)
        data, place = data[done:], place + done
