"""Where this machine keeps what it can make or fetch again: shards of remote datasets, decoded pixels.

Everything below the folder may be deleted at any time, also while trials run.
"""

from __future__ import annotations

import os
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
