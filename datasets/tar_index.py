"""Where each image of a webdataset shard lies, so that an uncompressed shard can be read in any order with `os.pread`.

Members are grouped as webdataset groups them: `a/b.c.jpg` has key `a/b` and extension `c.jpg`, and members of one key
are neighbours. Folders are passed over; shards may be written by any tool (ustar, GNU or pax headers).
"""

from __future__ import annotations

import os
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm")
_BLOCK = 512
_Parts = dict[str, tuple[int, int]]  # extension -> (offset, size)


@dataclass(frozen=True, slots=True)
class IndexedSample:
    """One sample of a shard: its encoded image is `size` bytes at `offset` of the file."""

    key: str
    label: int
    offset: int
    size: int
    extension: str
    caption: str | None


def index_shard(path: Path) -> list[IndexedSample]:
    """The samples of a shard in stored order; reads headers, labels and captions, no images.

    Raises FileNotFoundError, or ValueError naming the shard and the member for anything that is no whole uncompressed
    webdataset shard with one image and one `.cls` label a sample.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return index_open_shard(str(path), descriptor)
    finally:
        os.close(descriptor)


def index_open_shard(name: str, descriptor: int) -> list[IndexedSample]:
    """As `index_shard`, of an open file; errors call it `name`."""
    samples = [_sample(name, descriptor, key, parts) for key, parts in _groups(name, descriptor)]
    key, times = Counter(sample.key for sample in samples).most_common(1)[0] if samples else ("", 0)
    if times > 1:
        raise ValueError(f"{name}: sample {key!r} occurs {times} times; members of one sample must be neighbours")
    return samples


def index_pairs(path: Path) -> list[IndexedSample]:
    """The image-text pairs of a tar in stored order, as `index_shard`; labels are not read and are -1.

    Raises ValueError also for a sample without a `.txt`. Members of other kinds (`.json`, `.cls`) are passed over.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return [_pair(str(path), descriptor, key, parts) for key, parts in _groups(str(path), descriptor)]
    finally:
        os.close(descriptor)


def split_name(name: str) -> tuple[str, str]:
    """(key, extension in lower case) of a member: the key ends before the first dot of the file's own name."""
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return folder + slash + stem, extension.lower()


def _groups(shard: str, descriptor: int) -> Iterator[tuple[str, _Parts]]:
    members = _plain_members(descriptor)
    if members is None:
        members = _any_members(shard, descriptor)
    current: str | None = None
    parts: _Parts = {}
    for name, offset, size in members:
        key, extension = split_name(name)
        if not _is_utf8(name):
            raise ValueError(f"{shard}: the name of member {name!r} is no UTF-8 text")
        if key != current:
            if current is not None:
                yield current, parts
            current, parts = key, {}
        if extension in parts:
            raise ValueError(f"{shard}: member {name!r} occurs twice")
        parts[extension] = (offset, size)
    if current is not None:
        yield current, parts


def _plain_members(descriptor: int) -> list[tuple[str, int, int]] | None:
    """(name, offset, size) of the files in a tar of nothing but short-named plain files, as `prepare` writes it.

    None for any other tar, or if anything is odd: then `tarfile` reads it, several times slower, and says what is wrong.
    """
    members: list[tuple[str, int, int]] = []
    offset, end = 0, os.fstat(descriptor).st_size
    while True:
        header = os.pread(descriptor, _BLOCK, offset)
        if header == bytes(_BLOCK):
            return members
        plain = header[156:157] in (b"0", b"\0") and header[257:263] == b"ustar\0" and header[345:346] == b"\0"
        if not plain or sum(header) - sum(header[148:156]) + 8 * 32 != _octal(header[148:156]):
            return None
        size = _octal(header[124:136])
        members.append((header[:100].rstrip(b"\0").decode("utf-8", "surrogateescape"), offset + _BLOCK, size))
        offset += _BLOCK + -(-size // _BLOCK) * _BLOCK
        if size < 0 or offset > end:
            return None


def _octal(field: bytes) -> int:
    """A number of a header; -1 if it is not written in octal digits."""
    digits = field.rstrip(b"\0 ").lstrip(b" ")
    return int(digits, 8) if digits.isdigit() and not digits.strip(b"01234567") else -1


def _any_members(shard: str, descriptor: int) -> list[tuple[str, int, int]]:
    """(name, offset, size) of the files in any uncompressed tar. Raises ValueError for links and the like."""
    try:
        with open(descriptor, "rb", closefd=False) as file:
            file.seek(0)  # whoever hashed it has left it at its end
            with tarfile.open(fileobj=file, mode="r:") as archive:
                files = [member for member in archive if not member.isdir()]
    except tarfile.TarError as error:
        raise ValueError(f"{shard}: not a whole uncompressed tar file: {error}") from None
    if bad := [member.name for member in files if not member.isreg() or member.issparse()]:
        raise ValueError(f"{shard}: member {bad[0]!r} is no plain file")
    return [(member.name, member.offset_data, member.size) for member in files]


def _pair(shard: str, descriptor: int, key: str, parts: _Parts) -> IndexedSample:
    image = _image(shard, key, parts)
    if "txt" not in parts:
        raise ValueError(f"{shard}: sample {key!r} has no text: expected a member {key}.txt")
    text = _read(shard, descriptor, *parts["txt"]).decode("utf-8", "replace").strip()
    offset, size = parts[image]
    return IndexedSample(key, -1, offset, size, image, text)


def _image(shard: str, key: str, parts: _Parts) -> str:
    """The extension of a sample's only image."""
    images = [extension for extension in parts if extension in IMAGE_EXTENSIONS]
    if len(images) != 1:
        raise ValueError(
            f"{shard}: sample {key!r} must have one image, has {', '.join(images) or 'none'} of {', '.join(parts)}"
        )
    return images[0]


def _sample(shard: str, descriptor: int, key: str, parts: _Parts) -> IndexedSample:
    image = _image(shard, key, parts)
    if "cls" not in parts:
        raise ValueError(f"{shard}: sample {key!r} has no label: expected a member {key}.cls")
    text = _read(shard, descriptor, *parts["cls"]).decode("ascii", "replace").strip()
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{shard}: {key}.cls must hold a class number, holds {text!r}")
    try:
        caption = _read(shard, descriptor, *parts["txt"]).decode("utf-8") if "txt" in parts else None
    except UnicodeDecodeError:
        raise ValueError(f"{shard}: {key}.txt must hold UTF-8 text") from None
    offset, size = parts[image]
    return IndexedSample(key, int(text), offset, size, image, caption)


def _is_utf8(name: str) -> bool:
    """Whether a name was UTF-8 text in the tar: other bytes are surrogates here, which no table of outcomes can hold."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)


def _read(shard: str, descriptor: int, offset: int, size: int) -> bytes:
    data = os.pread(descriptor, size, offset)
    if len(data) != size:
        raise ValueError(f"{shard}: ends at byte {offset + len(data)}, expected at least {offset + size}")
    return data
