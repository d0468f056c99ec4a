"""Which names of files are acceptable: a path below a folder and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
_MAX_NAMED = 20
_DRIVE = re.compile(r"[A-Za-z]:")


def is_archive(name: str) -> bool:
    """Whether a file of this name is an archive that can be looked into."""
    return name.lower().endswith(ARCHIVE_SUFFIXES)


def unsafe_name(name: str) -> str | None:
    """What is wrong with the name of an archive's member or of a published file; None if it stays below its folder."""
    if "\0" in name:
        return "its name has a NUL character"
    if "\\" in name:
        return "its name has a backslash"
    if name.startswith("/") or ".." in name.split("/") or _DRIVE.match(name):
        return "its name leads outside"
    return None


def normal(name: str) -> str:
    """The name without './' and doubled slashes."""
    if name.startswith("./") or name.endswith("/") or "//" in name or "/./" in name:
        return str(PurePosixPath(name))
    return name


def is_text(path: str) -> bool:
    """Whether a name can be written as UTF-8; the bytes of others come as lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in path)


def shown(name: str) -> str:
    """The name for a message: on one line and printable whatever it holds."""
    return name if name.isprintable() else ascii(name)


def listed(lines: Iterable[str], headline: str) -> str:
    """A message of several lines, of which only the first 20 are spelt out."""
    lines = list(lines)
    rest = [f"... and {len(lines) - _MAX_NAMED} more"] if len(lines) > _MAX_NAMED else []
    return "\n".join([headline, *lines[:_MAX_NAMED], *rest])
