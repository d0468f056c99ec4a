"""Prepares a dataset: checks every sample, writes shards, can be interrupted at any moment and goes on afterwards.

While it works, the folder holds `.prepare.json`: what is being prepared, and which splits are done. The same command
then goes on with the next split. `dataset.json` is written last, when every shard is on disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from datasets import DatasetError
from datasets.base import Dataset, RawSample
from datasets.images import checked
from datasets.shard_file import OpenShard, write_atomic
from datasets.shards import (
    FILE_NAME,
    Prepared,
    Progress,
    ShardInfo,
    described,
    file_sha256,
    file_text,
    open_prepared,
    verify_prepared,
)
from datasets.tar_index import IMAGE_EXTENSIONS

SPLITS = ("train", "test")
JOURNAL = ".prepare.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def write(
    dataset: Dataset, to: Path, source: Path | None, short_side: int | None, progress: Progress | None = None
) -> Prepared:
    """Prepare `dataset` under `to` from the published files at `source` and return it.

    Prepared already: verifies every hash and does nothing else. Interrupted before: goes on after the last whole split.
    `short_side` reduces larger images, in pixels; see `datasets.images`. Raises FileNotFoundError for missing published
    files, and DatasetError with one line for each bad image, count that differs or other problem.
    """
    _check_names(dataset, short_side)
    with _only_one(to):
        if (to / FILE_NAME).exists():
            return _already(dataset, to, short_side)
        journal = _Journal.begin(dataset, to, source, short_side)
        problems: list[str] = []
        for domain in dataset.info.domains:
            for split in _splits(dataset, domain):
                if journal.holds(domain, split):
                    if progress is not None:
                        progress(f"{domain}/{split}", sum(journal.counts[domain][split]))
                    continue
                writer = _SplitWriter(dataset, to, domain, split)
                found = writer.write(source, short_side, progress)
                problems += found
                if not found:
                    journal.add(domain, split, writer)
        if problems:
            raise DatasetError("\n".join([f"dataset {dataset.info.name}: {len(problems)} problems", *problems]))
        write_atomic(to / FILE_NAME, file_text(dataset.info, short_side, *journal.in_order(dataset)))
        (to / JOURNAL).unlink()
    return open_prepared(to)


@dataclass
class _Journal:
    """What is being prepared and what is done of it; kept in the folder until the dataset is whole."""

    to: Path
    request: dict[str, Any]
    counts: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    shards: list[ShardInfo] = field(default_factory=list)

    @classmethod
    def begin(cls, dataset: Dataset, to: Path, source: Path | None, short_side: int | None) -> _Journal:
        """The journal of an interrupted run of the same request, else a new one.

        Splits that an interrupted run finished are hashed again. A generated dataset starts over: its code may have
        changed meanwhile, and it is quick to make.
        """
        request = described(dataset.info) | {
            "counts": {domain: dict(splits) for domain, splits in dataset.info.counts.items()},
            "source": _source_state(source),
            "short_side": short_side,
        }
        journal = cls(to, request)
        if (to / JOURNAL).exists():
            if dataset.generated or not journal._continue():
                _remove_shards(to, "*", SPLITS)
        elif leftover := sorted(path.name for path in to.iterdir() if not path.name.startswith(".")):
            raise DatasetError(f"{to} holds other files ({', '.join(leftover[:3])}); give an empty or new folder")
        journal._save()
        return journal

    def _continue(self) -> bool:
        """Take over what an interrupted run of the same request finished, if it is still whole."""
        try:
            old = json.loads((self.to / JOURNAL).read_text(encoding="utf-8"))
            request, counts = old["request"], dict(old["counts"])
            shards = [ShardInfo(**shard) for shard in old["shards"]]
        except (ValueError, KeyError, TypeError):
            return False  # written by another version
        whole = all((self.to / s.name).is_file() and file_sha256(self.to / s.name) == s.sha256 for s in shards)
        if not whole or request != json.loads(json.dumps(self.request)):
            return False
        self.counts, self.shards = counts, shards
        return True

    def holds(self, domain: str, split: str) -> bool:
        return split in self.counts.get(domain, {})

    def add(self, domain: str, split: str, writer: _SplitWriter) -> None:
        self.counts.setdefault(domain, {})[split] = writer.per_class
        self.shards += writer.shards
        self._save()

    def in_order(self, dataset: Dataset) -> tuple[dict[str, dict[str, list[int]]], list[ShardInfo]]:
        """Counts and shards by domain and split, whichever of them was done first."""
        places = [(domain, split) for domain in dataset.info.domains for split in _splits(dataset, domain)]
        counts: dict[str, dict[str, list[int]]] = {}
        for domain, split in places:
            counts.setdefault(domain, {})[split] = self.counts[domain][split]
        return counts, sorted(self.shards, key=lambda shard: (places.index((shard.domain, shard.split)), shard.name))

    def _save(self) -> None:
        shards = [asdict(shard) for shard in self.shards]
        write_atomic(self.to / JOURNAL, json.dumps({"request": self.request, "counts": self.counts, "shards": shards}))


class _SplitWriter:
    """Writes one split of one domain; `shards` and `per_class` are what came of it."""

    def __init__(self, dataset: Dataset, to: Path, domain: str, split: str) -> None:
        self.dataset, self.to, self.domain, self.split = dataset, to, domain, split
        self.shards: list[ShardInfo] = []
        self.per_class = [0] * len(dataset.info.classnames)
        self._keys: set[str] = set()

    def write(self, source: Path | None, short_side: int | None, progress: Progress | None) -> list[str]:
        """Write all shards; returns the problems found, one line each."""
        problems = []
        _remove_shards(self.to, self.domain, (self.split,))
        (self.to / self.domain).mkdir(exist_ok=True)
        place, done, shard = f"{self.domain}/{self.split}", 0, None
        try:
            for sample, broken in checked(self.dataset.samples(self.domain, self.split, source), short_side):
                done += 1
                if problem := self._problem(sample) or broken:
                    problems.append(f"{place}: image {sample.key}.{sample.extension}: {problem}")
                else:
                    if shard is not None and shard.is_full(sample):
                        self._close(shard)
                        shard = None
                    shard = shard or OpenShard(self._path(len(self.shards)))
                    shard.write(sample)
                    self.per_class[sample.label] += 1
                if progress is not None:
                    progress(place, done)
            if shard is not None:
                self._close(shard)
                shard = None
        finally:
            if shard is not None:
                shard.abandon()
        return problems + self._count_problems(place, done)

    def _problem(self, sample: RawSample) -> str | None:
        if sample.key in self._keys:
            return "its key occurs twice in this split"
        self._keys.add(sample.key)
        if not sample.key or re.search(r"[./\\\x00-\x1f]", sample.key):
            return "a key must not be empty or contain dots, slashes or control characters"
        if not 0 <= sample.label < len(self.per_class):
            return f"label {sample.label} is out of range, expected 0 to {len(self.per_class) - 1}"
        if sample.extension not in IMAGE_EXTENSIONS:
            return f"extension {sample.extension!r} is unknown, expected one of {', '.join(IMAGE_EXTENSIONS)}"
        return None

    def _count_problems(self, place: str, found: int) -> list[str]:
        expected = self.dataset.info.counts.get(self.domain, {}).get(self.split)
        if expected is not None and found != expected:
            return [f"{place}: expected {expected} images, found {found}"]
        return [f"{place}: has no images"] if found == 0 else []

    def _path(self, number: int) -> Path:
        return self.to / self.domain / f"{self.split}-{number:06d}.tar"

    def _close(self, shard: OpenShard) -> None:
        name = f"{self.domain}/{shard.path.name}"
        count, size, digest = shard.close()
        self.shards.append(ShardInfo(name, self.domain, self.split, count, size, digest))


def _source_state(source: Path | None) -> list[str | int] | None:
    """Where the published files are and, for an archive, which version of it."""
    if source is None or not source.is_file():
        return None if source is None else [str(source.resolve())]
    return [str(source.resolve()), source.stat().st_size, source.stat().st_mtime_ns]


def _remove_shards(to: Path, domain: str, splits: tuple[str, ...]) -> None:
    """Remove shards, whole or not, and the folders that this empties; `domain` may be '*'."""
    for path in list(to.glob(f"{domain}/*.tar*")):
        if re.fullmatch(rf"({'|'.join(splits)})-\d{{6}}\.tar(\.tmp)?", path.name):
            path.unlink()
            if not any(path.parent.iterdir()):
                path.parent.rmdir()


def _check_names(dataset: Dataset, short_side: int | None) -> None:
    info = dataset.info
    for what, names in (("name", (info.name,)), ("domain", info.domains)):
        if bad := [name for name in names if not _NAME.fullmatch(name)]:
            raise DatasetError(f"dataset {info.name}: {what} {bad[0]!r} must consist of letters, digits, '_' and '-'")
    if unknown := sorted(set(info.counts) - set(info.domains)):
        raise DatasetError(
            f"dataset {info.name}: counts name {unknown[0]!r}, which is no domain of it: {', '.join(info.domains)}"
        )
    for domain, splits in info.counts.items():
        if bad := [split for split in splits if split not in SPLITS]:
            raise DatasetError(
                f"dataset {info.name}: counts of {domain} name split {bad[0]!r}; splits are train and test"
            )
    if short_side is not None and short_side < 1:
        raise DatasetError(f"short side must be at least 1 pixel, got {short_side}")


def _splits(dataset: Dataset, domain: str) -> list[str]:
    """The splits of a domain: those it has counts for, both if it has none."""
    return [split for split in SPLITS if split in dataset.info.counts.get(domain, SPLITS)]


def _already(dataset: Dataset, to: Path, short_side: int | None) -> Prepared:
    prepared = open_prepared(to)
    stored = {key: getattr(prepared, key) for key in (*described(dataset.info), "short_side")}
    asked = described(dataset.info) | {"short_side": short_side}
    for key, value in asked.items():
        found = list(stored[key]) if isinstance(value, list) else stored[key]
        if found != value:
            raise DatasetError(
                f"{to} holds dataset {prepared.name} prepared with another {key} "
                f"({_short(found)}, asked for {_short(value)}); delete that folder or give another one"
            )
    verify_prepared(prepared)
    return prepared


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


@contextlib.contextmanager
def _only_one(to: Path) -> Iterator[None]:
    """Hold the folder, so that two processes never prepare into it at once."""
    try:
        to.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise DatasetError(f"{to} is not a folder") from None
    descriptor = os.open(to, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatasetError(f"another process is preparing {to}; wait for it to end") from None
        yield
    finally:
        os.close(descriptor)
