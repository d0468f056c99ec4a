"""Where this machine keeps what it can make or fetch again: shards of remote datasets, what it has checked, decoded pixels.

Everything below the folder may be deleted at any time, also while trials run.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "ROBUST_FT_BENCH_CACHE"
"""Environment variable: the folder itself."""


def cache_folder() -> Path:
    """The node-local folder for caches, not made yet: $ROBUST_FT_BENCH_CACHE, else robust-ft-bench in the user's cache."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    # The XDG specification says to ignore a relative path.
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return root / "robust-ft-bench"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold a lock against threads and processes of this node; waits for it. Gives the locked file's descriptor."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # the folder was deleted in between
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            break
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def amount(size: float) -> str:
    """Bytes for a person, with three digits: '1.50 GiB', '31.0 MiB'."""
    value, unit = (size / 2**30, "GiB") if size >= 2**30 else (size / 2**20, "MiB")
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:#.3g} {unit}"
