"""The node's cache of decoded pixels: what one trial has decoded, no later epoch or trial on this machine decodes again.

`<cache>/pixels/<hash>.pixels` (see `datasets.pixel_file`, which says why several may write and why a kill does no harm)
holds the images of one domain and split, either as they are stored in the shards, for training crops, or as evaluation
takes them. The hash is of the shards' contents, of what was made of the images, and of Pillow's version; so a file that is
there is right, wherever the shards lie. The state of the cache never changes a result.

Beside each file, `<hash>.used` is locked by those who use it, and its time says when it was last taken up. Under the limit
files stay; to make room, those go that nobody uses, the longest unused first. `total` counts the bytes, under its lock, so
that all processes together keep to the limit, but for an image each that is just being written while another counts anew,
as it does whenever a trial takes up a file. All of the folder may be deleted at any time: who has files open goes on with
them, the next trial begins anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import PIL

from datasets.decoding import Decoded, as_array
from datasets.node_cache import amount, cache_folder
from datasets.pixel_file import PixelFile
from datasets.prepared import Prepared, ShardInfo
from datasets.samples import Sample
from datasets.stream import Reader, read_image, read_size
from datasets.transforms import EvalTransform

log = logging.getLogger(__name__)

FORMAT = 1
GIB = 2**30
_LOOKED_AT = 64  # images whose header is read to estimate what a split needs
_SPARE = GIB  # of the disk is left free
_STALE_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Need:
    """What one (domain, split) of a dataset takes in the cache."""

    place: str
    """'<dataset> <domain>/<split>'"""
    what: str
    name: str
    """of its file"""
    count: int
    bytes: int
    to_resize: bool


class PixelCache:
    """The cache as one process uses it. `limit`: bytes for all of the node."""

    def __init__(self, limit: int, folder: Path | None = None) -> None:
        self.limit = limit
        self.folder = folder or cache_folder() / "pixels"
        self._open: dict[str, _Used] = {}
        self._current: set[str] = set()
        self._shared = _Limit(self.limit, self.folder)

    def begin(self) -> None:
        """A new trial: what the one before used may go if room is needed."""
        self._current = set()
        self._shared.begin()

    @property
    def lines(self) -> tuple[str, ...]:
        """What it has logged since the trial began: what does not fit and is decoded anew."""
        return tuple(self._shared.lines)

    def reader(self, prepared: Prepared, samples: Sequence[Sample], finish: EvalTransform | None = None) -> Reader:
        """A reader of these samples that keeps what it decodes. With `finish` it gives what that makes of each image."""
        files: dict[Path, tuple[_Used, int]] = {}
        for shards, chosen in _by_split(prepared, samples):
            if used := self._take_up(need(prepared, shards, chosen, finish)):
                files |= {prepared.where(shard).path: (used, place) for place, shard in enumerate(shards, start=1)}
        return _CachedReader(files, finish)

    def _take_up(self, need: Need) -> _Used | None:
        """The file for a split, ready to read and to fill; None, with a line in the log, if it does not fit."""
        self._current.add(need.name)
        path = self.folder / f"{need.name}.pixels"
        try:
            known = self._open.get(need.name)
            if known and known.file.is_linked():
                return known
            self._open.pop(need.name, None)
            with _counted(self.folder) as total:
                if refusal := self._make_room(need, path, total):
                    line = f"pixel cache off for {need.place}: {refusal}; its images are decoded anew"
                    self._shared.tell(need.name, line)
                    return None
                lock = os.open(path.with_suffix(".used"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
                with contextlib.ExitStack() as on_error:
                    on_error.callback(os.close, lock)
                    fcntl.flock(lock, fcntl.LOCK_SH)
                    os.utime(lock)
                    file = PixelFile(path, need.count, columns=need.to_resize)
                    on_error.pop_all()
                self._open[need.name] = _Used(self._shared, file, lock, need.place)
            return self._open[need.name]
        except OSError as error:
            self._shared.tell(str(self.folder), f"pixel cache off: {self.folder} cannot be used: {error}")
            return None

    def _make_room(self, need: Need, path: Path, total: _Total) -> str | None:
        """Delete what nobody uses until the need fits; else say what is missing. Sets the total to what is there."""
        for name in set(self._open) - self._current:
            del self._open[name]
        sizes = _sizes(self.folder)
        wanted = max(0, need.bytes - sizes.get(path, 0))
        idle = sorted((p for p in sizes if p != path), key=_last_used)
        while sum(sizes.values()) + wanted > self.limit and need.bytes <= self.limit and idle:
            if _delete_unused(oldest := idle.pop(0)):
                del sizes[oldest]
        total.set(sum(sizes.values()))
        if total.value + wanted > self.limit:
            kept = f", {amount(total.value)} are in use" if total.value else ""
            allowed = f"it needs {amount(need.bytes)} for {need.what}, --cache-gib allows {amount(self.limit)}{kept}"
            return f"{allowed}; run with --cache-gib {(total.value + wanted) / GIB + 0.1:.1f} or more, or without"
        if (free := shutil.disk_usage(self.folder).free - _SPARE) < wanted:
            needs = f"it needs {amount(wanted)} more for {need.what}"
            return f"{needs}, {amount(max(0, free))} are free on the disk of {self.folder}"
        return None


class _Limit:
    """What the cache and its files both need; apart from the cache, so that a file is let go as soon as nobody has it."""

    def __init__(self, limit: int, folder: Path) -> None:
        self.limit, self.folder = limit, folder
        self.begin()

    def begin(self) -> None:
        """A new trial: what there is to say is said again."""
        self._told: set[str] = set()
        self.lines: list[str] = []

    def allow(self, size: int) -> bool:
        """Count `size` more bytes if they are within the limit."""
        with _counted(self.folder) as total:
            if total.value + size > self.limit:
                return False
            total.set(total.value + size)
            return True

    def tell(self, key: str, line: str) -> None:
        """Log a line, once for a key and trial, and remember it; a sweep says once what stands before its first ": "."""
        if key not in self._told:
            self._told.add(key)
            self.lines.append(line)
            log.warning("%s", line)


class _Used:
    """A file that this process uses, as the lock on its `.used` tells others."""

    def __init__(self, shared: _Limit, file: PixelFile, lock: int, place: str) -> None:
        self.file = file
        self._shared, self._lock, self._place = shared, lock, place
        self._ended = ""
        """why no more images are kept"""

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._lock)

    def keep(self, key: int, image: Decoded) -> None:
        """Add an image. A full cache or disk ends that, with a line in the log of each trial, and is no error."""
        if not self._ended:
            try:
                if self.file.put(key, as_array(image), self._shared.allow):
                    return
                self._ended = f"the limit of {amount(self._shared.limit)} (--cache-gib) is reached"
            except OSError as error:
                self._ended = str(error)
        line = f"pixel cache full for {self._place}: {self._ended}; more of its images are not kept"
        self._shared.tell(line, line)


@dataclass(frozen=True, slots=True)
class _CachedReader:
    files: dict[Path, tuple[_Used, int]]
    finish: EvalTransform | None

    def __call__(self, sample: Sample) -> Decoded:
        used, shard = self.files.get(sample.path, (None, 0))
        key = shard << 44 | sample.offset
        if used is not None and (found := used.file.get(key)) is not None:
            return found
        image = read_image(sample)
        if self.finish:
            image = self.finish(image)
        if used is not None:
            used.keep(key, image)
        return image


def need(
    prepared: Prepared, shards: Sequence[ShardInfo], samples: Sequence[Sample], finish: EvalTransform | None
) -> Need:
    """What the samples, all of these shards of one split, take; of images as they are stored, an estimate from some headers."""
    made = ["decoded"] if finish is None else ["finished", finish.preprocessing, finish.size]
    content = [FORMAT, PIL.__version__, made, [shard.sha256 for shard in shards]]
    if finish is None:
        looked_at = samples[:: -(-len(samples) // _LOOKED_AT)]
        each = sum(3 * width * height for width, height in map(read_size, looked_at)) / len(looked_at)
    else:
        each = 3 * finish.size**2
    return Need(
        place=f"{prepared.name} {shards[0].domain}/{shards[0].split}",
        what="decoded pixels" if finish is None else f"pixels of size {finish.size}",
        name=hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32],
        count=sum(shard.count for shard in shards),
        bytes=round(each * len(samples)),
        to_resize=finish is None,
    )


def _by_split(prepared: Prepared, samples: Sequence[Sample]) -> Iterator[tuple[tuple[ShardInfo, ...], list[Sample]]]:
    """The samples by domain and split, with all shards of that; samples of other datasets are left out."""
    places = {prepared.where(shard).path: (shard.domain, shard.split) for shard in prepared.shards}
    chosen: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        if (place := places.get(sample.path)) is not None:
            chosen.setdefault(place, []).append(sample)
    for place, found in chosen.items():
        yield prepared.select(*place), found


@dataclass(slots=True)
class _Total:
    """The bytes of all files, in a file that is locked."""

    descriptor: int
    value: int

    def set(self, value: int) -> None:
        os.pwrite(self.descriptor, value.to_bytes(8, "little"), 0)
        self.value = value


@contextlib.contextmanager
def _counted(folder: Path) -> Iterator[_Total]:
    """The total, under its lock. Made anew if the folder was deleted."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "total", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield _Total(descriptor, int.from_bytes(os.pread(descriptor, 8, 0), "little"))
    finally:
        os.close(descriptor)


def _sizes(folder: Path) -> dict[Path, int]:
    """Bytes of each file on the disk. What a killed process has begun and left is removed."""
    sizes = {}
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            if path.suffix == ".pixels":
                sizes[path] = status.st_size
            elif path.suffix == ".part" and time.time() - status.st_mtime > _STALE_SECONDS:
                path.unlink()
    return sizes


def _last_used(path: Path) -> float:
    try:
        return path.with_suffix(".used").stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _delete_unused(path: Path) -> bool:
    """Delete a file unless somebody uses it or it is another user's; whether it is gone."""
    try:
        lock = os.open(path.with_suffix(".used"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except PermissionError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
        path.with_suffix(".used").unlink(missing_ok=True)
        return True
    except (BlockingIOError, PermissionError):
        return False
    finally:
        os.close(lock)
