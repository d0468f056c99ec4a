"""An archive's place in a source: where its content appears."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets.sources.archive import Archive
from datasets.sources.opened import open_archive, open_inner


class Part:
    """What the archive at `path` has below the folder `inside` ('' or ending in '/') appears below `mount`.

    The archive may be missing. `within` is its name in other archives that it may lie in instead, and those. It is opened
    when first asked for.
    """

    def __init__(
        self, path: Path, mount: str = "", inside: str = "", within: tuple[str, Sequence[Part]] = ("", ())
    ) -> None:
        self.path, self.mount, self.inside, self.within = path, mount.strip("/"), inside, within
        self._opened: Archive | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}  # open files stay in their process

    @property
    def archive(self) -> Archive | None:
        """The archive; None if it is missing. Raises DatasetError if it is damaged or not safe."""
        if self._opened is None:
            self._opened = open_archive(self.path) if self.path.is_file() else self._within()
        return self._opened

    def find(self, path: str) -> tuple[Archive, str] | None:
        """The archive and the name in it of a file of the source, if it is there."""
        inner = self.inner(path)
        if inner is not None and (archive := self.archive) is not None and archive.exists(inner):
            return archive, inner
        return None

    def inner(self, path: str) -> str | None:
        """The name within the archive that `path` would have; None if it lies elsewhere."""
        if not self.mount:
            return self.inside + path
        return self.inside + path[len(self.mount) + 1 :] if path.startswith(self.mount + "/") else None

    def below(self, folder: str) -> list[str]:
        """Paths in the source of the archive's files below a folder."""
        start = f"{self.mount}/" if self.mount else ""
        if start.startswith(folder + "/" if folder else ""):
            inner: str | None = self.inside  # the folder is the mount or around it
        else:
            inner = self.inner(folder)
        if inner is None or (archive := self.archive) is None:
            return []
        return [start + name.removeprefix(self.inside) for name in archive.below(inner.rstrip("/"))]

    def _within(self) -> Archive | None:
        name, around = self.within
        for part in around:
            if found := part.find(name):
                return open_inner(*found)
        return None
