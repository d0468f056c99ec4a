"""Identity of a file by its content. No ray, no torch."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from datasets.pairs import pool_tars
from datasets.shards import FILE_NAME, open_prepared


def file_identity(path: Path) -> str:
    """`sha256:<hex>` of a file; read once per process and version of the file. Raises FileNotFoundError."""
    status = path.stat()
    return _hash(str(path.resolve()), status.st_size, status.st_mtime_ns)


def pool_identity(folder: Path) -> str:
    """`sha256:<hex>` of a folder of image-text pairs by its content, wherever it lies.

    That of `dataset.json` for a prepared dataset; else a hash of the name and the hash of every tar, each read once per
    process and version of the file. Raises FileNotFoundError, or ValueError for a folder that is no pool.
    """
    if (folder / FILE_NAME).is_file():
        return f"sha256:{open_prepared(folder).identity}"
    lines = [f"{path.relative_to(folder).as_posix()} {file_identity(path)}\n" for path in pool_tars(folder)]
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


@lru_cache(maxsize=8192)
def _hash(path: str, _size: int, _modified: int) -> str:
    with Path(path).open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
