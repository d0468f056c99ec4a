"""Reading what authors publish beside their images: class names, lists with a line an image, MATLAB files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets import DatasetError
from datasets.base import Published
from datasets.sources import load_mat


def class_table(name: str, without: Sequence[str] = ()) -> dict[str, str]:
    """The authors' name of a class (folder, label, category) -> CLIP's, in label order; from `classnames/<name>.txt`."""
    rows = (Path(__file__).parent / "classnames" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    pairs = [row.partition("\t") for row in rows if not row.startswith("#")]
    return {key: classname or key for key, _, classname in pairs if key not in without}


def lines(files: Published, path: str) -> Iterator[tuple[str, str]]:
    """('file:line', text) of each line of a list that is not blank.

    Raises FileNotFoundError that says where to get the list, DatasetError if it is no text.
    """
    try:
        text = files.read(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{files.where(path)}: is not UTF-8 text: {error}") from None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield f"{files.where(path)}:{number}", line.strip()


def mat_variables(files: Published, path: str, *names: str) -> list[NDArray[Any]]:
    """Variables of a MATLAB file, as flat arrays. Raises DatasetError that lists what there is if one is missing."""
    content = load_mat(files.read(path), files.where(path))
    if absent := [name for name in names if name not in content]:
        raise DatasetError(f"{files.where(path)}: has no variable {absent[0]!r}; it has {', '.join(content)}")
    return [np.ravel(content[name]) for name in names]
