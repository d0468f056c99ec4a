"""A .mat file that would fill the memory, or end the process, is refused before scipy sees it."""

from __future__ import annotations

import io
import random
import struct
import zlib

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from datasets import DatasetError
from datasets.sources import limits, load_mat

HEADER = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
BOMB = (1, 2**31 - 1)


def mat_element(kind: int, content: bytes, size: int | None = None) -> bytes:
    return struct.pack("<II", kind, len(content) if size is None else size) + content + bytes(-len(content) % 8)


def mat_cells(
    shape: tuple[int, int], content: bytes, name: bytes = b"", size: int | None = None, class_: int = 1
) -> bytes:
    flags, dims = struct.pack("<II", class_, 0), struct.pack("<ii", *shape)
    return mat_element(14, mat_element(6, flags) + mat_element(5, dims) + mat_element(1, name) + content, size)


def test_matlab_files_that_are_bombs(monkeypatch):
    """Without a look at them first, scipy fills the memory, or its recursion ends the process."""
    deep = mat_cells((0, 0), b"")
    for _ in range(1000):
        deep = mat_cells((1, 1), deep)
    for content, message in (
        (mat_cells((1, 2**31 - 1), b"", b"labels"), "it declares 2,147,483,647 cells and holds 0"),
        (mat_cells((-(2**30), -(2**30)), b"", b"labels"), "it declares 1,152,921,504,606,846,976 cells"),
        (deep, "its cells are nested more than 32 deep"),
        (mat_element(15, zlib.compress(deep)), "its cells are nested more than 32 deep"),
    ):
        with pytest.raises(DatasetError, match=f"x/a.mat: refused, {message}"):
            load_mat(HEADER + content, "x/a.mat")
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"labels": np.zeros(10**6)}, do_compression=True)
    assert load_mat(stream.getvalue(), "x/a.mat")["labels"].shape == (1, 10**6)
    monkeypatch.setattr(limits, "RATIO_FREE_MEMBER_BYTES", 1000)
    with pytest.raises(DatasetError, match=r"x/a.mat: refused, it decompresses to more than [0-9,]+ bytes"):
        load_mat(stream.getvalue(), "x/a.mat")


def test_bombs_that_lie_about_where_they_end():
    """scipy reads on behind the end of a matrix, as far as a damaged place, and takes any mark but 'IM' for big-endian."""
    forged = mat_element(14, mat_element(6, struct.pack("<II", 1, 0)) + mat_element(5, struct.pack("<ii", 1, 1)), 16)
    number = mat_element(6, struct.pack("<II", 6, 0)) + mat_element(5, struct.pack("<ii", 1, 3)) + mat_element(1, b"")
    hidden = mat_element(9, mat_element(14, mat_cells(BOMB, b"")))
    damaged = bytearray(zlib.compress(mat_cells(BOMB, mat_element(9, random.Random(0).randbytes(2**19)))))
    damaged[-1] ^= 0xFF
    for content in (
        forged * 20_000,
        mat_cells(BOMB, b"", size=16),
        mat_cells((1, 1), mat_cells(BOMB, b"", size=16)),
        mat_cells((1, 2), mat_element(14, number + hidden, len(number) + 8) + mat_cells(BOMB, b"")),
        mat_cells(BOMB, mat_element(16, b""), class_=4),
        mat_element(15, bytes(damaged)),
    ):
        with pytest.raises(DatasetError, match=r"x/a\.mat: refused, "):
            load_mat(HEADER + content, "x/a.mat")
    flags, dims = struct.pack(">IIII", 6, 8, 1, 0), struct.pack(">IIii", 5, 8, *BOMB)
    content = flags + dims + struct.pack(">II", 1, 0)
    with pytest.raises(DatasetError, match=r"x/a\.mat: refused, it declares 2,147,483,647 cells"):
        load_mat(HEADER[:124] + b"\x01\x00XX" + struct.pack(">II", 14, len(content)) + content, "x/a.mat")


@pytest.mark.parametrize("compressed", [False, True])
def test_files_that_hold_what_they_declare_are_read(compressed: bool):
    inner = {"a": 1.0, "b": {"c": "text", "d": np.arange(3)}}
    cells = np.empty((2, 3), object)
    for place in np.ndindex(2, 3):
        cells[place] = np.zeros((0, 0)) if place[1] else inner
    rows = np.array([(1, "x"), (2, "y")], dtype=[("f", object), ("g", object)])
    found = {"cells": cells, "rows": rows, "none": np.zeros((0, 4), object), "z": np.ones((2, 2)) * 1j}
    found |= {"sparse": scipy.sparse.csc_matrix(np.eye(3)), "text": np.array(["a", "bcd"]), "flag": np.array([True])}
    stream = io.BytesIO()
    scipy.io.savemat(stream, found, do_compression=compressed)
    assert load_mat(stream.getvalue(), "x/a.mat").keys() == found.keys()
    without_fields = mat_cells((1, 1000), mat_element(5, struct.pack("<i", 32)) + mat_element(1, b""), b"s", class_=2)
    assert load_mat(HEADER + without_fields, "x/a.mat")["s"].shape == (1, 1000)


def test_damage_that_would_end_the_process_is_refused():
    """A single byte is enough: scipy looks kinds up without asking whether there is such a kind."""
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"v": np.arange(3.0), "w": np.arange(3.0)})
    whole = stream.getvalue()
    for place, value, message in (
        (176, 73, "it has data of an unknown kind, 73"),
        (176, 14, "it has data of an unknown kind, 14"),
        (145, 8, "an array is cut short: 4 parts, expected 5"),
        (156, 3, "an array is damaged: 3 bytes of dimensions"),
    ):
        damaged = whole[:place] + bytes([value]) + whole[place + 1 :]
        with pytest.raises(DatasetError, match=rf"x/a\.mat: refused, {message}"):
            load_mat(damaged, "x/a.mat")
