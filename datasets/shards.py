"""Prepared datasets: a folder with `dataset.json` and webdataset shards `<domain>/<split>-000000.tar`.

`dataset.json` is written last and holds the hash of every shard, so its own hash identifies the data. It has no times
and no paths: preparing the same input again gives the same bytes. `datasets.shard_writer` writes such folders.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from datasets import DatasetError
from datasets.base import Dataset, DatasetInfo
from datasets.tar_index import IndexedSample, index_shard

__all__ = [
    "IndexedSample",
    "Prepared",
    "ShardInfo",
    "index_shard",
    "open_prepared",
    "verify_prepared",
    "write_prepared",
]

FILE_NAME = "dataset.json"
FORMAT = 1
Progress = Callable[[str, int], None]
"""Called after each image with '<domain>/<split>' and the number of its images done so far."""


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """One shard: `name` is its path below the dataset's folder, `bytes` and `sha256` are those of the file."""

    name: str
    domain: str
    split: str
    count: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """A dataset ready for training. `identity` is the sha256 of `dataset.json` and thereby of all its images."""

    root: str
    identity: str
    name: str
    title: str
    revision: str
    source: str
    license: str
    citation: str
    domains: tuple[str, ...]
    classnames: tuple[str, ...]
    templates: tuple[str, ...]
    short_side: int | None
    """Pixels that the shorter side of larger images was reduced to; None: images as published."""
    counts: dict[str, dict[str, list[int]]]
    """domain -> split -> images of each class"""
    shards: tuple[ShardInfo, ...]

    def select(self, domain: str, split: str) -> tuple[ShardInfo, ...]:
        """The shards of one split in order. Raises DatasetError for one that the dataset does not have."""
        if split not in self.counts.get(domain, {}):
            have = ", ".join(f"{d}/{s}" for d, splits in self.counts.items() for s in splits)
            raise DatasetError(f"dataset {self.name} at {self.root} has no {domain}/{split}; it has {have}")
        return tuple(shard for shard in self.shards if (shard.domain, shard.split) == (domain, split))

    def path(self, shard: ShardInfo) -> Path:
        """Where a shard lies."""
        return Path(self.root) / shard.name


class _Shard(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: str
    domain: str
    split: str
    count: int = Field(gt=0)
    bytes: int = Field(gt=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    @field_validator("name")
    @classmethod
    def _inside(cls, name: str) -> str:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ValueError(f"shard {name!r} lies outside the dataset's folder")
        return name


class _File(BaseModel):
    """The schema of `dataset.json`."""

    model_config = ConfigDict(extra="forbid", strict=True)
    format: Literal[1]
    name: str
    title: str
    revision: str
    source: str
    license: str
    citation: str
    domains: list[str] = Field(min_length=1)
    classnames: list[str] = Field(min_length=1)
    templates: list[str] = Field(min_length=1)
    short_side: int | None
    counts: dict[str, dict[str, list[int]]]
    shards: list[_Shard]


def open_prepared(root: str | Path) -> Prepared:
    """The dataset in a folder; reads `dataset.json` and checks that every shard is there with its size (not its hash).

    Raises FileNotFoundError with the command that prepares it if there is no `dataset.json`, and DatasetError (a
    ValueError) that names what is damaged and what to do.
    """
    folder = Path(root)
    try:
        data = (folder / FILE_NAME).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(
            f"no prepared dataset in {folder}; prepare it with: "
            f"python -m orchestrator prepare {folder.name} --to {folder}"
            " (and --from FOLDER_OR_ARCHIVE with the files as published, if it is not a generated dataset)"
        ) from None
    try:
        file = _File.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise DatasetError(f"{folder / FILE_NAME}: {where}: {first['msg']}; {_again(folder)}") from None
    if problem := _inconsistency(folder, file):
        raise DatasetError(f"{folder / FILE_NAME}: {problem}; {_again(folder)}")
    return Prepared(
        root=str(folder),
        identity=hashlib.sha256(data).hexdigest(),
        name=file.name,
        title=file.title,
        revision=file.revision,
        source=file.source,
        license=file.license,
        citation=file.citation,
        domains=tuple(file.domains),
        classnames=tuple(file.classnames),
        templates=tuple(file.templates),
        short_side=file.short_side,
        counts=file.counts,
        shards=tuple(ShardInfo(**shard.model_dump()) for shard in file.shards),
    )


def verify_prepared(prepared: Prepared) -> None:
    """Hash every shard again. Raises DatasetError naming each one that is missing or differs."""
    problems = []
    for shard in prepared.shards:
        path = prepared.path(shard)
        if not path.is_file():
            problems.append(f"{path}: missing")
        elif (found := file_sha256(path)) != shard.sha256:
            problems.append(f"{path}: sha256 is {found}, expected {shard.sha256}")
    if problems:
        raise DatasetError("\n".join([*problems, _again(Path(prepared.root))]))


def write_prepared(
    dataset: Dataset,
    to: Path,
    source: Path | None,
    short_side: int | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Turn a dataset into shards under `to`; see `datasets.shard_writer.write`, which does it."""
    # Imported here: the writer needs this module, and webdataset loads torch, which readers of dataset.json do without.
    from datasets.shard_writer import write

    return write(dataset, to, source, short_side, progress)


def file_text(
    info: DatasetInfo, short_side: int | None, counts: dict[str, dict[str, list[int]]], shards: list[ShardInfo]
) -> str:
    """The text of `dataset.json`: the same for the same images, whenever and wherever it is made."""
    content: dict[str, Any] = {"format": FORMAT, **described(info), "short_side": short_side, "counts": counts}
    content["shards"] = [asdict(shard) for shard in shards]
    file = _File.model_validate_json(json.dumps(content))
    return json.dumps(file.model_dump(), indent=1, ensure_ascii=False) + "\n"


def described(info: DatasetInfo) -> dict[str, Any]:
    """The facts of a dataset that `dataset.json` keeps."""
    facts = {key: getattr(info, key) for key in ("name", "title", "revision", "source", "license", "citation")}
    return facts | {key: list(getattr(info, key)) for key in ("domains", "classnames", "templates")}


def file_sha256(path: Path) -> str:
    """The sha256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _inconsistency(folder: Path, file: _File) -> str | None:
    """What is wrong between the numbers in `dataset.json` and the files beside it."""
    if set(file.counts) != set(file.domains):
        return f"counts are of {', '.join(file.counts)}, but the domains are {', '.join(file.domains)}"
    for domain, splits in file.counts.items():
        for split, per_class in splits.items():
            stored = sum(shard.count for shard in file.shards if (shard.domain, shard.split) == (domain, split))
            if len(per_class) != len(file.classnames):
                return f"counts.{domain}.{split} has {len(per_class)} classes, expected {len(file.classnames)}"
            if sum(per_class) != stored:
                return f"counts.{domain}.{split} add up to {sum(per_class)}, but its shards hold {stored} images"
    for shard in file.shards:
        path = folder / shard.name
        if not path.is_file():
            return f"shard {path} is missing"
        if path.stat().st_size != shard.bytes:
            return f"shard {path} has {path.stat().st_size} bytes, expected {shard.bytes}"
    return None


def _again(folder: Path) -> str:
    return f"delete the folder {folder} and prepare the dataset again"
