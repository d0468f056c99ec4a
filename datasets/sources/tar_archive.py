"""Tar archives, read in place. Tar archives in a tar archive show their content below their name without '.tar', as
ImageNet's training images are published."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from datasets import DatasetError
from datasets.sources import limits
from datasets.sources.archive import Archive, Listing, Window
from datasets.sources.names import listed, normal, shown, unsafe_name

_BLOCK = tarfile.BLOCKSIZE
_AFTER_END = 2**19
"""Bytes behind an archive's end that are looked at together: whole blocks."""
# Beside its own errors, tarfile lets these through when a header is forged.
_PARSING = (tarfile.TarError, ValueError, LookupError, ArithmeticError, RecursionError, EOFError)


class _TarArchive(Archive):
    """Rows of the listing: bytes, offset."""

    def _content(self, path: str, row: tuple[int, ...]) -> bytes:
        size, offset = row
        if size > limits.MAX_MEMBER_BYTES:
            raise DatasetError(f"{self.where(path)}: has {size:,} bytes, the limit is {limits.MAX_MEMBER_BYTES:,}")
        return self.pread(size, offset, path)


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    size: int
    offset: int
    """of its content in the file"""
    is_folder: bool = False
    problem: str | None = None
    """why it is refused"""


def open_tar(path: Path, descriptor: int) -> Archive:
    """The uncompressed tar archive behind an open file, which it takes over; `path` is its name in messages.

    Raises DatasetError if it is not a whole archive, or has links, devices, sparse files, names that lead outside or
    occur twice, or more members than the limit.
    """
    listing, unsafe = Listing(2), list[str]()
    archive = _TarArchive(path, listing, descriptor)
    for number, member in enumerate(_members(path, descriptor, 0, os.fstat(descriptor).st_size, "")):
        if number == limits.MAX_MEMBERS:
            raise DatasetError(f"{path}: refused, it has more than {limits.MAX_MEMBERS:,} members")
        if member.problem:
            unsafe.append(f"{archive.where(member.name)}: {member.problem}")
        elif not member.is_folder:
            listing.add(normal(member.name), member.size, member.offset)
    unsafe += [f"{archive.where(name)}: its name occurs twice" for name in dict.fromkeys(listing.sort())]
    if unsafe:
        raise DatasetError(listed(unsafe, f"{path}: refused, it has {len(unsafe)} unsafe members"))
    return archive


def _members(path: Path, descriptor: int, start: int, size: int, prefix: str) -> Iterator[_Member]:
    """All members of the archive in this part of the file, those of archives in it below `prefix`."""
    try:
        for member in _listed(descriptor, start, size):
            if prefix:
                yield replace(member, name=prefix + member.name)
            elif _is_inner(member):
                inner = f"{normal(member.name).removesuffix('.tar')}/"
                yield from _members(path, descriptor, member.offset, member.size, inner)
            else:
                yield member
    except DatasetError:  # of an archive within this one; it is a ValueError too
        raise
    except _PARSING as error:
        place = f"{path}:{prefix[:-1]}.tar" if prefix else str(path)
        reason = " ".join(str(error).split())
        raise DatasetError(f"{place}: not a whole tar archive: {reason}; get it again") from None


def _is_inner(member: _Member) -> bool:
    hidden = member.name.rpartition("/")[2].startswith(".")  # what a Mac adds for each file, under the same ending
    return member.name.endswith(".tar") and not (hidden or member.is_folder or member.problem)


def _listed(descriptor: int, start: int, size: int) -> Iterator[_Member]:
    """The members of one archive. Headers of plain files are read here, which is ten times faster; tarfile reads the rest."""
    window = Window(descriptor, start, size, limits.MAX_TAR_HEADER_BYTES)
    with tarfile.open(fileobj=window, mode="r:") as archive:
        archive.next()  # the first was read when it was opened; start again, with it
        archive.offset = window.seek(0)
        while True:
            # A header that is valid for all following ones leaves no header plain.
            plain = None if archive.pax_headers else _plain(os.pread(descriptor, _BLOCK, start + archive.offset))
            if plain is not None:
                name, length = plain
                offset = archive.offset + _BLOCK
                archive.offset = offset + -(-length // _BLOCK) * _BLOCK
                if archive.offset > size:
                    raise tarfile.ReadError(f"it ends within member {shown(name)!r}")
                yield _Member(name, length, start + offset, problem=_bad_name(name))
                continue
            before = archive.offset
            archive.members.clear()  # type: ignore[attr-defined]  # or it would keep them all in memory
            member = archive.next()
            if member is None:
                break
            if member.size < 0 or archive.offset <= before:
                raise tarfile.ReadError(f"member {shown(member.name)!r} has a forged size")
            yield _Member(member.name, member.size, start + member.offset_data, member.isdir(), _unsafe(member))
        _check_end(window, archive.offset)


def _plain(header: bytes) -> tuple[str, int] | None:
    """(name, bytes) of the header of a plain file with a short name; None for all others, and for anything odd."""
    if header[156:157] != b"0" or header[257:262] != b"ustar" or header[345:346] != b"\0":
        return None
    size, checksum = header[124:136].rstrip(b"\0 "), header[148:156].strip(b"\0 ")
    if not (size.isdigit() and checksum.isdigit()) or (size + checksum).strip(b"01234567"):
        return None
    if sum(header) - sum(header[148:156]) + 8 * 32 != int(checksum, 8):
        return None
    return header[:100].partition(b"\0")[0].decode("utf-8", "surrogateescape"), int(size, 8)


def _check_end(window: Window, offset: int) -> None:
    """tarfile takes a damaged header, or the end of the file, for the end of the archive: images would be lost in silence."""
    window.seek(offset)
    block = window.read(_BLOCK)
    if len(block) < _BLOCK:
        raise tarfile.ReadError(f"it ends at byte {offset + len(block):,} without the mark that tells the end")
    if block.strip(b"\0"):
        raise tarfile.ReadError(f"its header at byte {offset:,} is damaged")
    # A block of zeros, as a bad disk or an interrupted download leaves it, looks like the end too.
    while chunk := window.read(_AFTER_END):
        for start in range(0, len(chunk), _BLOCK):
            at = window.tell() - len(chunk) + start
            # The end has two blocks of zeros; other bytes behind them are no part of the archive, unless they are a header.
            lone = at == offset + _BLOCK and chunk[:_BLOCK].strip(b"\0")
            if lone or _is_header(chunk[start : start + _BLOCK]):
                raise tarfile.ReadError(f"it seems to end at byte {offset:,}, but goes on at byte {at:,}")


def _is_header(block: bytes) -> bool:
    """Whether a block has a header's checksum, which the oldest format has too."""
    checksum = block[148:156].strip(b"\0 ")
    if len(block) < _BLOCK or not checksum.isdigit() or checksum.strip(b"01234567"):
        return False
    return sum(block) - sum(block[148:156]) + 8 * 32 == int(checksum, 8)


def _unsafe(member: tarfile.TarInfo) -> str | None:
    if problem := _bad_name(member.name):
        return problem
    if member.issym() or member.islnk():
        return f"is a link to {shown(member.linkname)}; links are not followed: unpack the archive by hand"
    if member.issparse():
        return "is stored with holes; unpack the archive by hand"
    if not (member.isreg() or member.isdir()):
        return "is neither file nor folder"
    return None


def _bad_name(name: str) -> str | None:
    problem = unsafe_name(name)
    return f"{problem} of the archive" if problem and problem.endswith("outside") else problem
