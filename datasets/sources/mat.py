"""MATLAB files, in which several datasets publish labels and splits."""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets import DatasetError
from datasets.sources import limits

_MATRIX, _COMPRESSED = 14, 15  # kinds of elements in version 5
_KINDS = frozenset((1, 2, 3, 4, 5, 6, 7, 9, 12, 13, _MATRIX, 16, 17, 18))
"""Of elements within a matrix; with another one scipy ends the process."""
_CHARACTERS, _NUMBERS = 4, range(4, 16)
_HEADS = {1: 3, 2: 5, 3: 6}
"""Elements before the matrices that cells, structs and objects hold, by class."""
_LEAST = {5: 6, 17: 5}
"""Elements that scipy reads of sparse and of opaque matrices; of others that hold none it is 4, one more of complex ones."""
_MAX_NESTING = 32
_PIECE = 2**14
"""Compressed bytes at a time: scipy uses what comes before a damaged place, in larger pieces."""
_HDF5 = b"\x89HDF\r\n\x1a\n"


def load_mat(data: bytes, where: str) -> dict[str, NDArray[Any]]:
    """Variable -> array of a MATLAB file of version 4 to 7.2; vectors are 2-dimensional, as MATLAB has them.

    Structs and cells are arrays of dtype object, or structured ones; nothing is unpickled. `where` names the file in
    errors. Raises DatasetError for a damaged file and for version 7.3, which is another format (HDF5).
    """
    if data[:8] == _HDF5 or data[512:520] == _HDF5 or data.startswith(b"MATLAB 7.3"):
        raise DatasetError(f"{where}: is a MATLAB 7.3 file (HDF5); save it in MATLAB or Octave with '-v7'")
    check_mat(data, where)
    import scipy.io  # here, because it takes longer to load than all else that a worker of `prepare` needs

    try:
        found = scipy.io.loadmat(io.BytesIO(data), appendmat=False)
    except Exception as error:  # its parser raises whatever the bytes lead it into
        raise DatasetError(f"{where}: no whole MATLAB file: {_line(error)}; get it again") from None
    return {name: np.asarray(value) for name, value in found.items() if not name.startswith("__")}


def check_mat(data: bytes, where: str) -> None:
    """Refuse what would fill the memory or end the process in scipy. Raises DatasetError; what is just damaged may pass."""
    if problem := _problem(data):
        raise DatasetError(f"{where}: refused, {problem}")


def _problem(data: bytes) -> str | None:
    if 0 in data[:4]:
        return None  # version 4, as scipy tells it: what it declares has to be in the file
    order = "<" if data[126:128] == b"IM" else ">"
    allowed = min(limits.MAX_MEMBER_BYTES, max(limits.RATIO_FREE_MEMBER_BYTES, limits.MAX_RATIO * len(data)))
    left = allowed
    for kind, content, whole in _elements(memoryview(data)[128:], order):
        if kind == _COMPRESSED:
            unpacked = _unpacked(content, left)
            left -= len(unpacked)
            if left < 0:
                return f"it decompresses to more than {allowed:,} bytes"
            inner = _elements(memoryview(unpacked), order)
        else:
            inner = iter([(kind, content, whole)])
        for inner_kind, matrix, _ in inner:
            if inner_kind == _MATRIX and (problem := _in_matrix(matrix, order, 1)):
                return problem
    return None


def _unpacked(content: memoryview, most: int) -> bytearray:
    """At most one byte more than `most`; of what is damaged, all that comes before."""
    stream, found = zlib.decompressobj(), bytearray()
    with suppress(zlib.error):
        for start in range(0, len(content), _PIECE):
            if len(found) > most:
                break
            found += stream.decompress(content[start : start + _PIECE], most + 1 - len(found))
    return found


def _in_matrix(content: memoryview, order: str, depth: int) -> str | None:
    """scipy makes room for what a matrix declares, and reads on behind its end: all that is declared has to be within."""
    if depth > _MAX_NESTING:
        return f"its cells are nested more than {_MAX_NESTING} deep"
    flags, count, length, fields, held, read = 0, 1, 1, 1, 0, 0
    for number, (kind, part, whole) in enumerate(_elements(content, order)):
        read += whole
        head = _HEADS.get(flags & 0xFF, 0)
        if kind not in _KINDS or (kind == _MATRIX and flags & 0xFF in _NUMBERS):
            return f"it has data of an unknown kind, {kind}"
        if number == 0:
            (flags,) = _integers(part, order)[:1] or (0,)
        elif number == 1:
            if flags & 0xFF <= _NUMBERS[-1] and (len(part) % 4 or not 8 <= len(part) <= 128):
                return f"an array is damaged: {len(part)} bytes of dimensions"
            count = math.prod(map(abs, _integers(part, order)))
        elif head > 3 and number == head - 2:
            (length,) = _integers(part, order)[:1] or (1,)
        elif head > 3 and number == head - 1:
            fields = len(part) // max(1, length)
        elif kind == _MATRIX:
            held += 1
            if problem := _in_matrix(part, order, depth + 1):
                return problem
        elif head and number >= head:
            return "what should be a cell is none"
        elif flags & 0xFF == _CHARACTERS and number == 3 and not part and 4 * count > limits.RATIO_FREE_MEMBER_BYTES:
            return f"it declares {count:,} characters in 0 bytes"  # which scipy fills with blanks
    if flags & 0xFF in _HEADS and (held != count * fields or count > limits.RATIO_FREE_MEMBER_BYTES):
        return f"it declares {count * fields:,} cells and holds {held:,}"
    least = 0 if flags & 0xFF in _HEADS or not len(content) else _LEAST.get(flags & 0xFF, 4) + (flags >> 11 & 1)
    return f"an array is cut short: {read} parts, expected {least}" if read < least else None


def _integers(data: memoryview, order: str) -> tuple[int, ...]:
    return struct.unpack(f"{order}{len(data) // 4}i", data[: len(data) // 4 * 4])


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview, bool]]:
    """(kind, content, whether it is whole) of each element; the last may be cut short."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:  # up to 4 bytes stand within the header
            yield kind & 0xFFFF, data[at + 4 : at + 4 + min(4, kind >> 16)], True
            at += 8
            continue
        yield kind, data[at + 8 : at + 8 + size], at + 8 + size <= len(data)
        at += 8 + (size if kind == _COMPRESSED else -(-size // 8) * 8)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
