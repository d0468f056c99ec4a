"""Decompresses a gzip'd tar once, into a file that all processes on the node read.

gzip can only be read from its start, images are read in any order and by several processes. The file lies in the cache
folder under a name made of the archive's path, size and time. It may be deleted at any time; those that were not asked
for during two weeks are, when another is made.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import hashlib
import os
import shutil
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

from datasets import DatasetError, NoRoomError
from datasets.node_cache import cache_folder
from datasets.sources import limits

Stream = IO[bytes] | gzip.GzipFile

_KEEP_SECONDS = 14 * 24 * 3600
_CHUNK = 2**20
_READ = os.O_RDONLY | os.O_CLOEXEC


def unpacked(identity: str, path: Path, size: int, opened: Callable[[], Stream]) -> int:
    """A descriptor of the decompressed content of a gzip'd file, which `opened` gives.

    `identity` tells this version of it from all others, `path` is its name in messages, `size` its bytes as published.

    Waits while another process decompresses the same file. Raises DatasetError for a damaged file, or one that holds
    more than the limits allow or the disk has room for.
    """
    folder = cache_folder() / "unpacked"
    folder.mkdir(parents=True, exist_ok=True)
    key = hashlib.sha256(os.fsencode(identity)).hexdigest()
    target = folder / f"{key}.tar"
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            descriptor = os.open(target, _READ)
        except FileNotFoundError:
            _remove_old(folder)
            _decompress(path, size, opened, target)
            descriptor = os.open(target, _READ)
        with contextlib.suppress(FileNotFoundError):  # deleted meanwhile, which an open file survives
            os.utime(target)
        return descriptor


def _decompress(path: Path, size: int, opened: Callable[[], Stream], target: Path) -> None:
    allowed = min(limits.MAX_TOTAL_BYTES, max(limits.RATIO_FREE_TOTAL_BYTES, limits.MAX_RATIO * size))
    if shutil.disk_usage(target.parent).free < size:
        raise _no_room(path, target)
    partial, done = target.with_suffix(".part"), 0
    try:
        with opened() as packed, partial.open("wb") as file:
            while chunk := packed.read(_CHUNK):
                done += len(chunk)
                if done > allowed:
                    raise DatasetError(f"{path}: refused, it decompresses to more than {allowed:,} bytes")
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DatasetError(f"{path}: not a whole tar archive: {error}; get it again") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_room(path, target) from None
        raise
    finally:
        partial.unlink(missing_ok=True)


def _no_room(path: Path, target: Path) -> NoRoomError:
    return NoRoomError(
        f"{path}: no room to decompress it in {target.parent}; make room there, set ROBUST_FT_BENCH_CACHE to a folder "
        "on a larger disk, or unpack the archive by hand"
    )


def _remove_old(folder: Path) -> None:
    """Remove files that nobody asked for lately; who has one open keeps it."""
    for path in [*folder.glob("*.tar"), *folder.glob("*.part")]:
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - _KEEP_SECONDS:
                path.unlink()
