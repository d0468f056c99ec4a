"""A .mat file that would fill the memory, or end the process, is refused before scipy sees it."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import scipy.io

from datasets import DatasetError
from datasets.sources import limits, load_mat


def mat_element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def mat_cells(shape: tuple[int, int], content: bytes, name: bytes = b"") -> bytes:
    flags, dims = struct.pack("<II", 1, 0), struct.pack("<ii", *shape)
    return mat_element(14, mat_element(6, flags) + mat_element(5, dims) + mat_element(1, name) + content)


def test_matlab_files_that_are_bombs(monkeypatch):
    """Without a look at them first, scipy fills the memory, or its recursion ends the process."""
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    deep = mat_cells((0, 0), b"")
    for _ in range(1000):
        deep = mat_cells((1, 1), deep)
    for content, message in (
        (mat_cells((1, 2**31 - 1), b"", b"labels"), "it declares 2,147,483,647 cells in 48 bytes"),
        (mat_cells((-(2**30), -(2**30)), b"", b"labels"), "it declares 1,152,921,504,606,846,976 cells"),
        (deep, "its cells are nested more than 32 deep"),
        (mat_element(15, zlib.compress(deep)), "its cells are nested more than 32 deep"),
    ):
        with pytest.raises(DatasetError, match=f"x/a.mat: refused, {message}"):
            load_mat(header + content, "x/a.mat")
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"labels": np.zeros(10**6)}, do_compression=True)
    assert load_mat(stream.getvalue(), "x/a.mat")["labels"].shape == (1, 10**6)
    monkeypatch.setattr(limits, "RATIO_FREE_MEMBER_BYTES", 1000)
    with pytest.raises(DatasetError, match=r"x/a.mat: refused, it decompresses to more than [0-9,]+ bytes"):
        load_mat(stream.getvalue(), "x/a.mat")
