"""What tests of remote data need: a cache of their own, and no long waits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from datasets import node_cache, shard_cache, storage
from datasets.shards import Prepared
from tests.datasets.faulty_server import FaultyServer, serving


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty node cache; attempts follow each other quickly.

    Silence is borne with for so long that a slow machine is never taken for it: tests count requests.
    """
    monkeypatch.setenv(node_cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(shard_cache.LIMIT_VARIABLE, raising=False)
    monkeypatch.setattr(shard_cache, "_HOLDER", shard_cache._Holder())
    monkeypatch.setattr(storage, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(storage, "LONGEST_WAIT", 0.05)
    monkeypatch.setattr(storage, "SILENCE", 30.0)
    return tmp_path / "cache" / "shards"


@pytest.fixture
def impatient(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For faults that are silence. An answer that a slow machine delays may be one more of them."""
    monkeypatch.setattr(storage, "SILENCE", 0.5)


@pytest.fixture
def server(blobs: Prepared, cache: Path) -> Iterator[FaultyServer]:
    """The folder above the prepared dataset blobs over HTTP, with an empty cache."""
    with serving(Path(blobs.root).parent) as found:
        yield found
