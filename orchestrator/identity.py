"""Identity of a file by its content. No ray, no torch."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path


def file_identity(path: Path) -> str:
    """`sha256:<hex>` of a file; read once per process and version of the file. Raises FileNotFoundError."""
    status = path.stat()
    return _hash(str(path.resolve()), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _hash(path: str, _size: int, _modified: int) -> str:
    with Path(path).open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
