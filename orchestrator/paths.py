"""Turns the paths of a manifest into absolute ones, also where Ray runs an unpacked copy of the working directory.

`ray job submit --working-dir .` uploads a folder and runs the command in a copy of it that Ray deletes later. What is
read from the working directory (model configs, weights, plugins) is in that copy. What must last or is too big to
upload (results, data) is not, so relative paths to it are resolved against a folder outside of Ray's.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from datasets.storage import StorageError, local_folder

HOME_VARIABLE = "ROBUST_FT_BENCH_HOME"
"""Environment variable: the folder that relative `results:` and `data:` belong to in a submitted Ray job."""

_UNPACKED = ("runtime_resources", "working_dir_files")


def is_unpacked_copy(folder: Path) -> bool:
    """Whether `folder` lies in the copy of a working directory that Ray unpacked for a submitted job."""
    parts = folder.absolute().parts
    return any(parts[i : i + 2] == _UNPACKED for i in range(len(parts) - 1))


def job_home() -> Path:
    """The folder for what a submitted job reads and writes outside of its working directory."""
    return Path(os.environ.get(HOME_VARIABLE) or "~/robust-ft-bench").expanduser().absolute()


def lasting(text: str, folder: Path) -> tuple[Path, bool]:
    """The absolute path of results or data, relative ones against `folder`; and whether `job_home` took its place."""
    path = Path(text).expanduser()
    if path.is_absolute():
        return _clean(path), False
    if is_unpacked_copy(folder):
        return _clean(job_home() / path), True
    return _clean(folder.absolute() / path), False


def data_place(text: str, folder: Path) -> tuple[Path | str, bool]:
    """As `lasting`, of data, which may also lie at a URL: that stays a text; file:// is a path as any other.

    Raises ValueError for a URL that is no prefix of others.
    """
    if not is_url(text):
        return lasting(text, folder)
    try:
        local = local_folder(text)
    except StorageError as error:
        raise ValueError(str(error)) from None
    if local is not None:
        return _clean(local), False
    if not urlsplit(text).netloc or "?" in text or "#" in text:
        raise ValueError(f"must be a folder, or the beginning of URLs as s3://bucket/prepared, got {text!r}")
    return text.rstrip("/"), False


def shipped(text: str, folder: Path) -> Path:
    """The absolute path of a file that travels with the manifest, relative ones against the manifest's `folder`."""
    return _clean(folder.absolute() / Path(text).expanduser())


def is_url(text: str) -> bool:
    """Whether `text` names a place by URL instead of a path."""
    return "://" in text


def _clean(path: Path) -> Path:
    """`path` without `..` and `.`; links stay, so that a path means the same on another machine."""
    return Path(os.path.normpath(path))
