"""Zip archives, read in place: zipfile reads the list of contents, zlib the members."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from itertools import pairwise
from pathlib import Path

from datasets import DatasetError
from datasets.sources import limits
from datasets.sources.archive import Archive, Listing, Window
from datasets.sources.names import listed, normal, unsafe_name

_LOCAL = struct.Struct("<4s5H3I2H")  # APPNOTE.TXT 4.3.7: local file header
_ENCRYPTED = 0x1
_PARSING = (zipfile.BadZipFile, NotImplementedError, ValueError, LookupError, ArithmeticError, EOFError, struct.error)


class _ZipArchive(Archive):
    """Rows of the listing: bytes, compressed bytes, offset of the header, CRC-32, method.

    Not read by zipfile, because a ZipFile moves one file position, which forked processes would share, and because it
    stops at the declared size without a word if more follows.
    """

    def _content(self, path: str, row: tuple[int, ...]) -> bytes:
        size, packed_size, offset, checksum, method = row
        if problem := _too_much(size, packed_size):
            raise DatasetError(f"{self.where(path)}: refused: {problem}")
        header = _LOCAL.unpack(self.pread(_LOCAL.size, offset, path))
        signature, name_size, extra_size = header[0], header[9], header[10]
        if signature != b"PK\3\4":
            raise self.damaged(path, "it is not where the archive's list of contents says")
        packed = self.pread(packed_size, offset + _LOCAL.size + name_size + extra_size, path)
        data = self._inflated(path, packed, size) if method == zipfile.ZIP_DEFLATED else packed
        if len(data) != size:
            raise self.damaged(path, f"it has {len(data):,} bytes, expected {size:,}")
        if (found := zlib.crc32(data)) != checksum:
            raise self.damaged(path, f"it is damaged: its CRC-32 is {found:08x}, expected {checksum:08x}")
        return data

    def _inflated(self, path: str, packed: bytes, size: int) -> bytes:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = inflate.decompress(packed, size + 1)
        except zlib.error as error:
            raise self.damaged(path, f"it is damaged: {error}") from None
        if len(data) > size:
            raise DatasetError(
                f"{self.where(path)}: refused: it decompresses to more than the {size:,} bytes it declares"
            )
        return data


def open_zip(path: Path, descriptor: int) -> Archive:
    """The zip archive behind an open file, which it takes over; `path` is its name in messages.

    Raises DatasetError if it is not a whole archive, has links, encrypted or overlapping members, names that lead
    outside or occur twice, compression other than deflate, or more members or bytes than the limits.
    """
    listing, unsafe = Listing(5), list[str]()
    archive = _ZipArchive(path, listing, descriptor)
    file_size = os.fstat(descriptor).st_size
    try:
        with zipfile.ZipFile(Window(descriptor, 0, file_size, limits.MAX_ZIP_DIRECTORY_BYTES)) as directory:
            members, end = directory.infolist(), directory.start_dir
    except _PARSING as error:
        reason = " ".join(str(error).split())
        raise DatasetError(f"{path}: not a whole zip archive: {reason}; get it again") from None
    if problem := _too_many(members, file_size):
        raise DatasetError(f"{path}: refused, {problem}")
    for member in members:
        if problem := _unsafe(member):
            unsafe.append(f"{archive.where(member.orig_filename)}: {problem}")
        elif not member.is_dir():
            row = member.file_size, member.compress_size, member.header_offset, member.CRC, member.compress_type
            listing.add(normal(member.filename), *row)
    unsafe += [f"{archive.where(name)}: its name occurs twice" for name in dict.fromkeys(listing.sort())]
    unsafe += [f"{archive.where(name)}: overlaps the next member" for name in _overlapping(members, end)]
    if unsafe:
        raise DatasetError(listed(unsafe, f"{path}: refused, it has {len(unsafe)} unsafe members"))
    return archive


def _unsafe(member: zipfile.ZipInfo) -> str | None:
    if reason := unsafe_name(member.orig_filename):
        return f"{reason} of the archive" if reason.endswith("outside") else reason
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "is a link, which is not followed; unpack the archive by hand"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is neither file nor folder"
    if member.flag_bits & _ENCRYPTED:
        return "is encrypted; unpack the archive by hand with its password"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"is compressed by method {member.compress_type}, not by deflate; unpack the archive by hand"
    return None


def _overlapping(members: list[zipfile.ZipInfo], end: int) -> list[str]:
    """Members whose bytes are also another's: how a small archive can hold petabytes."""
    placed = sorted(members, key=lambda member: member.header_offset)
    starts = [*(member.header_offset for member in placed), end]
    return [
        member.orig_filename
        for member, (start, following) in zip(placed, pairwise(starts), strict=True)
        if start < 0 or start + _LOCAL.size + member.compress_size > following
    ]


def _too_many(members: list[zipfile.ZipInfo], file_size: int) -> str | None:
    total = sum(member.file_size for member in members)
    if len(members) > limits.MAX_MEMBERS:
        return f"it has {len(members):,} members, the limit is {limits.MAX_MEMBERS:,}"
    allowed = min(limits.MAX_TOTAL_BYTES, max(limits.RATIO_FREE_TOTAL_BYTES, limits.MAX_RATIO * file_size))
    if total > allowed:
        return f"its members have {total:,} bytes in an archive of {file_size:,}, the limit is {allowed:,}"
    return None


def _too_much(size: int, packed_size: int) -> str | None:
    allowed = min(limits.MAX_MEMBER_BYTES, max(limits.RATIO_FREE_MEMBER_BYTES, limits.MAX_RATIO * packed_size))
    if size > allowed:
        return f"it declares {size:,} bytes, of {packed_size:,} compressed; the limit is {allowed:,}"
    if packed_size > limits.MAX_MEMBER_BYTES:  # they are read into memory, however little may come of them
        return f"it has {packed_size:,} compressed bytes, the limit is {limits.MAX_MEMBER_BYTES:,}"
    return None
