"""What a dataset file provides: facts about the dataset, and its images as encoded samples.

A dataset knows nothing of models or methods. It turns what its authors publish into samples; `datasets.shards` writes
them as webdataset shards and `datasets.stream` reads those back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInfo:
    """Facts about a dataset. `counts` is what `prepare` must find: domain -> split ('train' or 'test') -> images."""

    name: str
    title: str
    revision: str
    domains: tuple[str, ...]
    classnames: tuple[str, ...]
    templates: tuple[str, ...]
    source: str
    license: str
    citation: str
    counts: Mapping[str, Mapping[str, int]]

    def __post_init__(self) -> None:
        for field in ("domains", "classnames", "templates"):
            if not getattr(self, field):
                raise ValueError(f"dataset {self.name}: {field} must not be empty")
        if len(set(self.domains)) != len(self.domains):
            raise ValueError(f"dataset {self.name}: domains repeat: {', '.join(self.domains)}")
        if bad := [t for t in self.templates if t.count("{}") != 1]:
            raise ValueError(f"dataset {self.name}: template {bad[0]!r} must contain {{}} exactly once")


@dataclass(frozen=True, slots=True)
class RawSample:
    """One image as it goes into a shard. `key` is unique within domain and split and has no dots or slashes."""

    key: str
    image: bytes
    extension: str
    label: int
    caption: str | None = None


class Dataset:
    """Base of all datasets; a subclass sets `info` and implements `samples`."""

    info: DatasetInfo
    generated: ClassVar[bool] = False
    """True for a dataset made from nothing: it needs no download and `run` prepares it when it is missing."""

    def samples(self, domain: str, split: str, source: Path | None) -> Iterator[RawSample]:
        """The images of one split in their fixed order.

        `source` is the folder (or archive) with the files as published, None for a generated dataset.
        Raises FileNotFoundError naming what is missing and where to get it.
        """
        raise NotImplementedError
