"""Datasets for tests with worker processes, which import this module alone: it must load neither torch nor pytest."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path

from datasets.base import Entry, Published
from tests.datasets.fakes import COUNTS, Fake, picture


class Deadly(Fake):
    """A worker that reads one of the images is killed, as the kernel does when memory runs out."""

    def read(self, entry: Entry, source: Published | None = None) -> tuple[bytes, str]:
        if entry.path == "oil/test/2":
            time.sleep(1)  # the other shards are written meanwhile
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(entry)


class Failing(Fake):
    def read(self, entry: Entry, source: Published | None = None) -> tuple[bytes, str]:
        if entry.path == "ink/test/1":
            raise OSError(errno.ENOSPC, "the disk is on fire")
        return super().read(entry)


class Slow(Fake):
    """Enough images to be killed among them; each notes the process that read it."""

    log: Path

    def __init__(self, log: Path) -> None:
        super().__init__(counts={d: {"train": 40} for d in COUNTS})
        self.log = log

    def entries(self, domain: str, split: str, source: Published | None = None) -> list[Entry]:
        return [Entry(f"{split}-{i:03d}", i % 3, f"{domain}/{split}/{i}") for i in range(40)]

    def read(self, entry: Entry, source: Published | None = None) -> tuple[bytes, str]:
        time.sleep(0.02)
        with self.log.open("a") as file:
            file.write(f"{os.getpid()} {entry.path}\n")
        return picture(int(entry.path.rpartition("/")[2])), "jpg"
