"""Brings a prepared dataset to storage that only fsspec can write to: a bucket, a share.

It is prepared in a scratch folder of this machine first. Shards go up one after the other and `dataset.json` last, so that
readers never see half a dataset; interrupted, the same command goes on with what is missing.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import textwrap
from collections.abc import Iterator
from typing import Any

import fsspec
from rich.console import Console

import datasets
from datasets.node_cache import cache_folder
from datasets.shard_writer import BAD_IMAGES
from datasets.shards import FILE_NAME, Prepared, open_prepared
from datasets.storage import EXTRAS, StorageError
from orchestrator.prepare.display import Transfers

_SENT = ".sent"


class Upload:
    """One folder in the storage, and the scratch folder that belongs to it."""

    def __init__(self, url: str, storage: Any, root: str) -> None:
        self.url, self._storage, self._root = url.rstrip("/"), storage, root.rstrip("/")
        self.scratch = cache_folder() / "prepare" / hashlib.sha256(self.url.encode()).hexdigest()[:16] / "shards"

    def is_done(self) -> bool:
        """Whether the whole dataset is there."""
        with self._told():
            return bool(self._storage.exists(f"{self._root}/{FILE_NAME}"))

    def send(self, console: Console) -> Prepared:
        """Upload what is prepared in the scratch folder, then delete that. Raises DatasetError if sizes differ."""
        prepared = open_prepared(self.scratch)
        journal = self.scratch.parent / _SENT
        lines = journal.read_text(encoding="utf-8").split() if journal.exists() else []
        # What was sent counts only if it was sent of these very data.
        sent = set(lines[1:]) if lines[:1] == [prepared.identity] else set()
        journal.write_text("\n".join([prepared.identity, *sorted(sent), ""]), encoding="utf-8")
        names = [shard.name for shard in prepared.shards]
        with Transfers(f"upload {prepared.name}", console) as shown, journal.open("a", encoding="utf-8") as notes:
            for name in (*names, *([BAD_IMAGES] if prepared.bad_images else ()), FILE_NAME):
                if name not in sent or self._size(name) != (self.scratch / name).stat().st_size:
                    self._put(name, shown)
                    notes.write(f"{name}\n")
                    notes.flush()
        shutil.rmtree(self.scratch.parent)
        return open_prepared(self.url)

    def _put(self, name: str, shown: Transfers) -> None:
        size, target = (self.scratch / name).stat().st_size, f"{self._root}/{name}"
        shown.update(name, 0, size)
        with self._told():
            self._storage.makedirs(target.rpartition("/")[0], exist_ok=True)
            self._storage.put_file(str(self.scratch / name), target)
        if (found := self._size(name)) != size:
            raise datasets.DatasetError(f"{self.url}/{name}: has {found} bytes after the upload, expected {size}")
        shown.update(name, size, size)

    def _size(self, name: str) -> int | None:
        with self._told():
            self._storage.invalidate_cache()
            path = f"{self._root}/{name}"
            return int(self._storage.size(path)) if self._storage.exists(path) else None

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Backends raise errors of their own libraries, which need not be installed here."""
        try:
            yield
        except Exception as error:
            raise StorageError(
                f"{self.url}: {type(error).__name__}: {' '.join(str(error).split())}; check address, credentials and "
                "network, then run the same command again, it continues"
            ) from error


def bound(url: str) -> Upload:
    """A folder to upload to. Raises DatasetError for storage that is not known or cannot be written."""
    protocol = url.partition("://")[0]
    if protocol in ("http", "https"):
        raise datasets.DatasetError(
            f"{url}: nothing can be written over {protocol}; give a folder, s3://, gs:// or the like"
        )
    try:
        storage, root = fsspec.core.url_to_fs(url)
    except ImportError as error:
        extra = EXTRAS.get(protocol)
        todo = f"install it with: pip install -e '.[{extra}]'" if extra else str(error)
        raise datasets.DatasetError(f"{url}: the package that writes {protocol}:// is not installed; {todo}") from None
    except ValueError:
        raise datasets.DatasetError(f"{url}: {protocol}:// is no storage that fsspec knows") from None
    except Exception as error:  # some connect at once, some want more than an address: errors of their own libraries
        reason = textwrap.shorten(" ".join(str(error).split()) or type(error).__name__, 300)
        raise datasets.DatasetError(f"{url}: cannot be written to: {reason}; check the address") from None
    return Upload(url, storage, root)
