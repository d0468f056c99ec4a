"""What an interrupted `prepare` leaves: a line for each finished shard, and the rule for what of it can be taken over."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any, Self

from datasets import DatasetError
from datasets.shard_file import write_atomic
from datasets.shard_work import ShardRecord, ShardTask
from datasets.shards import ShardInfo

JOURNAL = ".prepare.jsonl"
_SHARD = re.compile(r"(train|test)-\d{6}\.tar(\..*)?")


class Journal:
    """`.prepare.jsonl` in the folder of the shards: first the request, then a line for each shard that is done.

    It is there until `dataset.json` is. A line that was torn is passed over, and its shard is written again; so is every
    shard whose entries changed, whose hash is another by now, or that had bad images.
    """

    def __init__(self, to: Path, request: dict[str, Any]) -> None:
        self._path = to / JOURNAL
        self._request = json.loads(json.dumps(request))
        self._file: IO[str] | None = None

    def begin(self, tasks: Sequence[ShardTask], start_over: bool) -> list[ShardTask]:
        """The tasks, those that an interrupted run of the same request finished with what is known of them.

        Removes all other shards. Raises DatasetError for a folder that holds other files, or what is done of another
        dataset, which may have taken hours.
        """
        to = self._path.parent
        other = sorted(path.name for path in to.iterdir() if not path.name.startswith("."))
        if other and not self._path.exists():
            raise DatasetError(f"{to} holds other files ({', '.join(other[:3])}); give an empty or new folder")
        request, lines = self._read()
        if other and (name := request.get("name", self._request["name"])) != self._request["name"]:
            raise DatasetError(
                f"{to} holds an unfinished dataset {name}; finish it, delete the folder, or give another one for "
                f"{self._request['name']}"
            )
        known = {} if start_over or request != self._request else _records(lines)
        planned = []
        for task in tasks:
            record = known.get(task.name)
            usable = record is not None and not record.bad and record.entries == task.digest()
            planned.append(replace(task, known=record) if usable else task)
        kept = [task.known for task in planned if task.known]
        _remove_shards(to, {task.name for task in planned if task.known})
        write_atomic(self._path, "".join(f"{json.dumps(line)}\n" for line in (self._request, *map(asdict, kept))))
        return planned

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, record: ShardRecord) -> None:
        """Note a shard that is whole and on disk."""
        if self._file is None:
            self._file = self._path.open("a", encoding="utf-8")
        self._file.write(f"{json.dumps(asdict(record))}\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def remove(self) -> None:
        """The dataset is whole."""
        self._path.unlink()

    def _read(self) -> tuple[dict[str, Any], list[str]]:
        """The request of the run that was interrupted, {} if there is none that can be read, and the lines after it."""
        try:
            first, *lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
            request = json.loads(first)
        except (FileNotFoundError, ValueError):
            return {}, []  # no journal, or not even its first line is whole
        return (request, lines) if isinstance(request, dict) else ({}, [])


def _records(lines: Iterable[str]) -> dict[str, ShardRecord]:
    """Shard -> its record, of those whose line is whole."""
    records = {}
    for line in lines:
        try:
            found = json.loads(line)
            shard, bad = ShardInfo(**found["shard"]), found["bad"]
            if not bad:
                records[shard.name] = ShardRecord(found["entries"], shard, (), found["reencoded"])
        except (ValueError, KeyError, TypeError):
            continue
    return records


def _remove_shards(to: Path, keep: Iterable[str]) -> None:
    """Remove shards, whole or not, and the folders that this empties."""
    kept = set(keep)
    for path in list(to.glob("*/*.tar*")):
        if _SHARD.fullmatch(path.name) and path.relative_to(to).as_posix() not in kept:
            path.unlink()
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
