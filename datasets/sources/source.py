"""A dataset's published files as one tree: a folder, an archive, or a folder with archives looked into."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets.base import Published, PublishedFile
from datasets.sources.archive import Archive
from datasets.sources.folder import FolderFiles
from datasets.sources.names import is_archive, shown
from datasets.sources.opened import open_archive
from datasets.sources.part import Part


def open_source(source: Path, files: Sequence[PublishedFile] = (), roots: Iterable[str] = ()) -> Published:
    """The files at `source`: a folder, or one .zip, .tar, .tar.gz or .tgz archive that is never extracted.

    In a folder, each archive of `files` that is there also shows its content, at its `mount`; where both have a file, the
    folder's own wins, then the first archive's. An archive of `files` may also lie in another one. An archive as source
    that is one of `files` by name shows its content at its `mount` too; any other may have one folder around everything,
    which is left out of all paths unless it is one of `roots`. Archives are opened when first asked for; the result can
    be pickled and read from several threads.

    Raises FileNotFoundError if nothing is at `source`, DatasetError for a file that is no archive. Reading raises
    FileNotFoundError for a path that is nowhere, naming the missing archive it may be in and where to get that (see
    `missing`), and DatasetError for an archive that is damaged or not safe.
    """
    source = source.absolute()
    if source.is_dir():
        return _Source(source, FolderFiles(source), _parts(source, files), tuple(files))
    if not source.is_file():
        raise FileNotFoundError(
            f"{source} does not exist; expected the folder or archive with the published files there"
        )
    itself = [file for file in files if is_archive(file.name) and file.name.rpartition("/")[2] == source.name]
    inside = "" if itself else open_archive(source).enclosing(frozenset(roots))
    outer = Part(source, itself[0].mount if itself else "", inside)
    inner = _parts(source, [file for file in files if file not in itself], (outer,))
    return _Source(source, None, (outer, *inner), tuple(files))


def missing(source: Published, path: str) -> str:
    """One line for the user: what is not there, which published file has it, and where to get that."""
    found = getattr(source, "missing", None)
    return str(found(path)) if found is not None else f"{source.where(path)} does not exist"


def _parts(folder: Path, files: Sequence[PublishedFile], around: Sequence[Part] = ()) -> tuple[Part, ...]:
    """The archives of `files`, each in the folder, or in another of them or one of `around`."""
    archives = [file for file in files if is_archive(file.name)]
    plain = [*around, *(Part(folder / file.name, file.mount) for file in archives)]
    return tuple(
        Part(folder / file.name, file.mount, within=(file.name, [p for p in plain if p.path != folder / file.name]))
        for file in archives
    )


@dataclass(frozen=True, slots=True)
class _Source:
    """A folder's own files, if there is a folder, before those of the archives."""

    root: Path
    own: FolderFiles | None
    parts: tuple[Part, ...]
    files: tuple[PublishedFile, ...]

    def exists(self, path: str) -> bool:
        return (self.own is not None and self.own.exists(path)) or self._find(path) is not None

    def read(self, path: str) -> bytes:
        if self.own is not None and self.own.exists(path):
            return self.own.read(path)
        if found := self._find(path):
            return found[0].read(found[1])
        raise FileNotFoundError(self.missing(path))

    def size(self, path: str) -> int:
        if self.own is not None and self.own.exists(path):
            return self.own.size(path)
        if found := self._find(path):
            return found[0].size(found[1])
        raise FileNotFoundError(self.missing(path))

    def state(self, path: str) -> tuple[int, int]:
        if self.own is not None and self.own.exists(path):
            return self.own.state(path)
        if found := self._find(path):
            return found[0].state(found[1])
        raise FileNotFoundError(self.missing(path))

    def below(self, folder: str) -> list[str]:
        folder = folder.strip("/")
        own = self.own.below(folder) if self.own is not None else []
        if not self.parts:
            return own
        # The archives themselves are left out: their content stands for them.
        archives = {file.name for file in self.files if is_archive(file.name)}
        return sorted(set(own).union(*(part.below(folder) for part in self.parts)) - archives)

    def where(self, path: str) -> str:
        if self.own is not None and (not self.parts or self.own.exists(path)):
            return self.own.where(path)
        if found := self._find(path):
            return found[0].where(found[1])
        if self.own is not None:
            return self.own.where(path)
        inner = self.parts[0].inner(path)
        return f"{self.root}:{shown(path if inner is None else inner)}"

    def missing(self, path: str) -> str:
        """One line: that `path` is not there, the published files that may have it, and where to get them."""
        line = f"{self.where(path)} does not exist"
        if self.own is None:
            return line
        absent = [file for file in self.files if not self._is_here(file)]
        likely = [file for file in absent if path == file.name or _provides(file, path)]
        hints = [
            _how_to_get(file, self.root)
            for file in likely or [file for file in absent if is_archive(file.name) and not file.optional]
        ]
        return f"{line}; {'; or '.join(hints)}" if hints else line

    def _find(self, path: str) -> tuple[Archive, str] | None:
        return next((found for part in self.parts if (found := part.find(path))), None)

    def _is_here(self, file: PublishedFile) -> bool:
        return (self.root / file.name).is_file() or is_unpacked(file, self.root)


def is_unpacked(file: PublishedFile, folder: Path) -> bool:
    """Whether everything that tells that an archive was unpacked by hand is in the folder."""
    return bool(file.unpacked) and all((folder / name).exists() for name in file.unpacked)


def _provides(file: PublishedFile, path: str) -> bool:
    """Whether an archive is known to have this file or folder."""
    places = [*file.unpacked, *([file.mount] if file.mount else [])]
    around = [place.strip("/") for place in places]
    return any(path == place or path.startswith(place + "/") or place.startswith(path + "/") for place in around)


def _how_to_get(file: PublishedFile, folder: Path) -> str:
    source = f"get it from {' or '.join(file.urls)}" if file.urls else "get it by hand from the dataset's home page"
    return f"{file.name} is missing: {source} and put it at {folder / file.name}"
