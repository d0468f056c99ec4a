"""Prepared datasets: a folder with `dataset.json` and webdataset shards `<domain>/<split>-000000.tar`.

`dataset.json` is written last and holds the hash of every shard, so its own hash identifies the data. It has no times
and no paths: preparing the same input again gives the same bytes. `datasets.shard_writer` writes such folders,
`datasets.prepared` reads them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from datasets.base import Dataset, DatasetInfo
from datasets.prepared import FILE_NAME, FORMAT, File, Prepared, ShardInfo, file_sha256, open_prepared, verify_prepared
from datasets.tar_index import IndexedSample, index_shard

if TYPE_CHECKING:
    from datasets.parallel import Runner

__all__ = [
    "FILE_NAME",
    "IndexedSample",
    "Prepared",
    "ShardInfo",
    "file_sha256",
    "index_shard",
    "open_prepared",
    "verify_prepared",
    "write_prepared",
]


@dataclass(frozen=True, slots=True)
class Done:
    """How far `write_prepared` is, in images."""

    place: str
    """'<domain>/<split>' that something was done of last"""
    images: int
    total: int
    kept: int
    """of `images`, those in shards that an earlier run had finished"""


Progress = Callable[[Done], None]


_OPTIONAL = ("groups", "bad_images", "reencoded")


def write_prepared(
    dataset: Dataset,
    to: Path,
    source: Path | None,
    short_side: int | None = None,
    progress: Progress | None = None,
    *,
    domains: Sequence[str] | None = None,
    bad_images: Literal["fail", "list"] = "fail",
    runner: Runner | None = None,
) -> Prepared:
    """Turn a dataset into shards under `to`; see `datasets.shard_writer.write`, which does it."""
    # Imported here: the writer needs this module.
    from datasets.parallel import in_process
    from datasets.shard_writer import Request, write

    request = Request(dataset, to, source, short_side, domains, bad_images)
    return write(request, runner or in_process, progress)


def file_text(
    info: DatasetInfo,
    short_side: int | None,
    counts: Mapping[str, Mapping[str, list[int]]],
    shards: Sequence[ShardInfo],
    **optional: Mapping[str, Mapping[str, int]],
) -> str:
    """The text of `dataset.json`: the same for the same images, whenever and wherever it is made.

    `optional` are `bad_images` and `reencoded`; like `groups` they are left out where they are empty, so that what has
    none keeps the identity that it had before these were known.
    """
    content: dict[str, Any] = {"format": FORMAT, **described(info), "short_side": short_side, "counts": counts}
    content |= {"shards": [asdict(shard) for shard in shards], "groups": info.groups, **optional}
    file = File.model_validate_json(json.dumps(content))
    kept = {key: value for key, value in file.model_dump().items() if value or key not in _OPTIONAL}
    return json.dumps(kept, indent=1, ensure_ascii=False) + "\n"


def described(info: DatasetInfo) -> dict[str, Any]:
    """The facts of a dataset that `dataset.json` keeps."""
    facts = {key: getattr(info, key) for key in ("name", "title", "revision", "source", "license", "citation")}
    return facts | {key: list(getattr(info, key)) for key in ("domains", "classnames", "templates")}
