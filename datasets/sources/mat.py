"""MATLAB files, in which several datasets publish labels and splits."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets import DatasetError

_HDF5 = b"\x89HDF\r\n\x1a\n"


def load_mat(data: bytes, where: str) -> dict[str, NDArray[Any]]:
    """Variable -> array of a MATLAB file of version 4 to 7.2; vectors are 2-dimensional, as MATLAB has them.

    Structs and cells are arrays of dtype object, or structured ones; nothing is unpickled. `where` names the file in
    errors. Raises DatasetError for a damaged file and for version 7.3, which is another format (HDF5).
    """
    if data[:8] == _HDF5 or data[512:520] == _HDF5 or data.startswith(b"MATLAB 7.3"):
        raise DatasetError(f"{where}: is a MATLAB 7.3 file (HDF5); save it in MATLAB or Octave with '-v7'")
    import scipy.io  # here, because it takes longer to load than all else that a worker of `prepare` needs

    try:
        found = scipy.io.loadmat(io.BytesIO(data), appendmat=False)
    except Exception as error:  # its parser raises whatever the bytes lead it into
        raise DatasetError(f"{where}: no whole MATLAB file: {_line(error)}; get it again") from None
    return {name: np.asarray(value) for name, value in found.items() if not name.startswith("__")}


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
