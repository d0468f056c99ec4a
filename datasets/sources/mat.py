"""MATLAB files, in which several datasets publish labels and splits."""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets import DatasetError
from datasets.sources import limits

_MATRIX, _COMPRESSED = 14, 15  # kinds of elements in version 5
_CONTAINERS = (1, 2, 3)  # cells, structs, objects: classes of matrices that hold matrices
_MAX_NESTING = 32
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
    """Refuse what would fill the memory or end the process in scipy. Raises DatasetError; what is just damaged passes."""
    if problem := _problem(data):
        raise DatasetError(f"{where}: refused, {problem}")


def _problem(data: bytes) -> str | None:
    if data[126:128] not in (b"IM", b"MI"):
        return None  # version 4: what it declares has to be in the file
    order = "<" if data[126:128] == b"IM" else ">"
    allowed = min(limits.MAX_MEMBER_BYTES, max(limits.RATIO_FREE_MEMBER_BYTES, limits.MAX_RATIO * len(data)))
    left = allowed
    for kind, content in _elements(memoryview(data)[128:], order):
        if kind == _COMPRESSED:
            try:
                unpacked = zlib.decompressobj().decompress(content, left + 1)
            except zlib.error:
                return None  # scipy says what is wrong with it
            left -= len(unpacked)
            if left < 0:
                return f"it decompresses to more than {allowed:,} bytes"
            inner = _elements(memoryview(unpacked), order)
        else:
            inner = iter([(kind, content)])
        for inner_kind, matrix in inner:
            if inner_kind == _MATRIX and (problem := _in_matrix(matrix, order, 1)):
                return problem
    return None


def _in_matrix(content: memoryview, order: str, depth: int) -> str | None:
    if depth > _MAX_NESTING:
        return f"its cells are nested more than {_MAX_NESTING} deep"
    holds = False
    for number, (kind, part) in enumerate(_elements(content, order)):
        if number == 0 and len(part) >= 4:
            (flags,) = struct.unpack_from(f"{order}I", part)
            holds = flags & 0xFF in _CONTAINERS
        elif number == 1 and holds:
            count = math.prod(abs(size) for (size,) in struct.iter_unpack(f"{order}i", part[: len(part) // 4 * 4]))
            if count * 8 > len(content):  # the least that an empty matrix takes
                return f"it declares {count:,} cells in {len(content):,} bytes"
        elif kind == _MATRIX and (problem := _in_matrix(part, order, depth + 1)):
            return problem
    return None


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """(kind, content) of each element; the last may be cut short."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:  # up to 4 bytes stand within the header
            yield kind & 0xFFFF, data[at + 4 : at + 4 + min(4, kind >> 16)]
            at += 8
            continue
        yield kind, data[at + 8 : at + 8 + size]
        at += 8 + (size if kind == _COMPRESSED else -(-size // 8) * 8)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
