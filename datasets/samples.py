"""The images of a prepared dataset, wherever it lies: where each is to be read, and which are held out for validation."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from datasets import DatasetError, shard_cache
from datasets.intact import LocalShard
from datasets.node_cache import amount
from datasets.parallel import available_cores
from datasets.prepared import Prepared, ShardInfo, remedy
from datasets.shard_cache import RemoteShard
from datasets.tar_index import IndexedSample, index_open_shard

_log = logging.getLogger(__name__)

TELL_SECONDS = 1.0
"""Between two words about shards that are hashed; those of most datasets are quicker."""

Fetched = Callable[[int, int], None]
"""Called with the number of shards that are here and whole, and of those that are needed."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Where one image lies. `key` is '<domain>/<key in the shard>'; `path` may be in the node's cache, then `remote` is set."""

    key: str
    label: int
    path: Path
    offset: int
    size: int
    caption: str | None = None
    remote: RemoteShard | None = field(default=None, compare=False, repr=False)
    """the shard of a dataset that lies elsewhere: it is fetched if it is not (or no longer) at `path`"""
    local: LocalShard | None = field(default=None, compare=False, repr=False)
    """the shard of a dataset that is read where it lies; without either, the file at `path` is read as it is"""

    def read(self) -> bytes:
        """The encoded image, of a shard whose hash is right.

        Raises DatasetError naming a shard that is missing or damaged; without one, OSError if the file is too short.
        """
        shard = self.remote or self.local
        descriptor = os.open(self.path, os.O_RDONLY) if shard is None else shard.open()
        try:
            data = os.pread(descriptor, self.size, self.offset)
        finally:
            os.close(descriptor)
        if len(data) != self.size:
            raise OSError(
                f"{self.path}: {self.key} ends after {len(data)} of {self.size} bytes; prepare the dataset again"
            )
        return data


def samples(prepared: Prepared, domain: str, split: str, fetched: Fetched | None = None) -> list[Sample]:
    """All samples of a split ('train' or 'test') in the order of its shards. Raises ValueError if there are none.

    Shards that lie elsewhere are fetched, several at a time, and stay for as long as the samples live if all fit the node's
    cache; `fetched` hears how far that is. Of shards that are hashed where they lie it hears once a second.
    """
    shards = prepared.select(domain, split)
    places = [prepared.where(shard) for shard in shards]
    remotes = [place for place in places if isinstance(place, RemoteShard)]
    if not shard_cache.hold(remotes):
        _log.warning(
            "%s/%s of %s: its %d shards (%s) do not fit the limit of the cache in %s; they are fetched again and "
            "again, which is slow: set %s to more GiB, or copy the dataset to a local disk",
            *(domain, split, prepared.root, len(remotes), amount(sum(shard.bytes for shard in shards))),
            *(remotes[0].path.parent, shard_cache.LIMIT_VARIABLE),
        )
    found = list[Sample]()
    for shard, place, entries in zip(shards, places, _indexes(places, fetched), strict=True):
        remote, local = (place, None) if isinstance(place, RemoteShard) else (None, place)
        _check_count(prepared, shard, entries)
        found += [
            Sample(f"{domain}/{e.key}", e.label, place.path, e.offset, e.size, e.caption, remote, local)
            for e in entries
        ]
    if not found:
        raise ValueError(f"dataset {prepared.name} has no {split} images of domain {domain!r}")
    _check_content(prepared, domain, split, found)
    return found


def _check_content(prepared: Prepared, domain: str, split: str, found: Sequence[Sample]) -> None:
    """What no single shard can tell. Raises DatasetError: labels that are not the counted ones, a key that occurs twice."""
    labels = Counter(sample.label for sample in found)
    problem = None
    for label in sorted({*labels, *range(len(prepared.classnames))}):
        expected = prepared.counts[domain][split][label] if label < len(prepared.classnames) else 0
        if labels[label] != expected:
            problem = f"{labels[label]:,} images have label {label}, dataset.json says {expected:,}"
            break
    if problem is None and len({sample.key for sample in found}) < len(found):
        key, times = Counter(sample.key for sample in found).most_common(1)[0]
        problem = f"key {key!r} occurs {times} times"
    if problem:
        raise DatasetError(f"{prepared.root}: {domain}/{split}: {problem}; {remedy(prepared.root)}")


def _remotes(prepared: Prepared, shards: Iterable[ShardInfo]) -> list[RemoteShard]:
    """How to get each shard; empty for a dataset that is read where it lies."""
    return [remote for shard in shards if (remote := prepared.remote(shard))]


def _indexes(places: Sequence[LocalShard | RemoteShard], fetched: Fetched | None) -> Iterator[list[IndexedSample]]:
    """The indexes of shards, several at a time: one that this node has not seen yet is fetched, or hashed."""
    waits = any(isinstance(place, RemoteShard) for place in places)  # for a network, not for a core
    threads = shard_cache.PARALLEL if waits else min(shard_cache.PARALLEL, available_cores())
    told = time.monotonic()
    for done, entries in enumerate(shard_cache.each(places, _index, threads), start=1):
        if fetched and (waits or time.monotonic() - told > TELL_SECONDS):
            fetched(done, len(places))
            told = time.monotonic()
        yield entries


def _index(place: LocalShard | RemoteShard) -> list[IndexedSample]:
    descriptor = place.open()
    try:
        return index_open_shard(place.url if isinstance(place, RemoteShard) else str(place.path), descriptor)
    finally:
        os.close(descriptor)


def _check_count(prepared: Prepared, shard: ShardInfo, entries: Sequence[IndexedSample]) -> None:
    if len(entries) != shard.count:
        raise ValueError(
            f"{prepared.root}/{shard.name} holds {len(entries)} samples, dataset.json says {shard.count}; "
            "prepare the dataset again"
        )


def fetch_ahead(prepared: Prepared, places: Iterable[tuple[str, str]]) -> None:
    """Begin to fetch (domain, split)s that will be needed, in the background and as far as they fit the node's cache.

    Returns at once. What goes wrong is left to `samples`, which will meet it again. Nothing happens for a local dataset.
    """

    def run() -> None:
        with contextlib.suppress(Exception):
            remotes = _remotes(prepared, [shard for place in places for shard in prepared.select(*place)])
            if shard_cache.hold(remotes):
                for remote in remotes:
                    shard_cache.fetch(remote)

    if "://" in prepared.root:
        threading.Thread(target=run, name="fetch-ahead", daemon=True).start()


def hold_out(train: Sequence[Sample], fraction: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Split training samples into (train, val), each in the original order.

    The `fraction` with the smallest sha256 of (seed, key) is held out, at least one image: an image's side depends on its
    key, not on its neighbours, so that adding images to a domain moves few others. Raises ValueError if nothing is left.
    """
    ranked = sorted(train, key=lambda sample: hashlib.sha256(f"{seed}:{sample.key}".encode()).digest())
    held = {sample.key for sample in ranked[: max(1, round(fraction * len(train)))]}
    rest = [sample for sample in train if sample.key not in held]
    if not rest:
        raise ValueError(f"holding out {fraction} of {len(train)} training images leaves none to train on")
    return rest, [sample for sample in train if sample.key in held]
