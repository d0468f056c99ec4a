"""Opens prepared datasets, in a folder of this machine or elsewhere: what `dataset.json` says, and where each shard is."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from datasets import DatasetError, storage
from datasets.intact import LocalShard
from datasets.shard_cache import RemoteShard
from datasets.wording import number_of

FILE_NAME = "dataset.json"
FORMAT = 1


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
    groups: dict[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)
    """as `DatasetInfo.groups`, of the domains that are here"""
    bad_images: dict[str, dict[str, int]] = field(default_factory=dict)
    """domain -> split -> images that cannot be decoded and were left out, where there are any"""
    reencoded: dict[str, dict[str, int]] = field(default_factory=dict)
    """domain -> split -> images stored as PNG because decoders disagree about them, where there are any"""

    @property
    def attestation(self) -> str:
        """What these data are, in one line that is the same wherever they lie."""
        totals = {split: 0 for splits in self.counts.values() for split in splits}
        for splits in self.counts.values():
            for split, per_class in splits.items():
                totals[split] += sum(per_class)
        images = " and ".join(f"{count:,} {split}" for split, count in totals.items()) + " images"
        left_out = sum(sum(splits.values()) for splits in self.bad_images.values())
        more = f", reduced to {self.short_side} pixels" * (self.short_side is not None)
        more += f", {number_of(left_out, 'bad image')} left out" * (left_out > 0)
        return (
            f"{self.name} {self.revision}: {number_of(len(self.domains), 'domain')}, "
            f"{number_of(len(self.classnames), 'class', 'classes')}, {images} in {number_of(len(self.shards), 'shard')}{more}, "
            f"sha256:{self.identity[:16]}"
        )

    def select(self, domain: str, split: str) -> tuple[ShardInfo, ...]:
        """The shards of one split in order. Raises DatasetError for one that the dataset does not have."""
        if split not in self.counts.get(domain, {}):
            have = ", ".join(f"{d}/{s}" for d, splits in self.counts.items() for s in splits)
            raise DatasetError(f"dataset {self.name} at {self.root} has no {domain}/{split}; it has {have}")
        return tuple(shard for shard in self.shards if (shard.domain, shard.split) == (domain, split))

    def where(self, shard: ShardInfo) -> LocalShard | RemoteShard:
        """What opens a shard, and checks it first: one that is read where it lies, or one that is fetched."""
        if "://" not in self.root:
            return LocalShard(Path(self.root) / shard.name, shard.sha256, remedy(self.root))
        return RemoteShard(storage.join(self.root, shard.name), shard.sha256, shard.bytes)

    def remote(self, shard: ShardInfo) -> RemoteShard | None:
        """How to get a shard of a dataset that lies elsewhere; None for one that is read where it lies."""
        there = self.where(shard)
        return there if isinstance(there, RemoteShard) else None

    def path(self, shard: ShardInfo) -> Path:
        """Where a shard lies on this machine, whole; one from elsewhere is fetched into the node's cache.

        There it may be removed when room is needed: what has to read it later keeps `remote` and opens that. Raises
        DatasetError that names a shard which is missing or damaged.
        """
        there = self.where(shard)
        os.close(there.open())
        return there.path


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


class File(BaseModel):
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
    # Left out of the text where they are empty.
    groups: dict[str, list[list[int]]] = Field(default_factory=dict)
    bad_images: dict[str, dict[str, int]] = Field(default_factory=dict)
    reencoded: dict[str, dict[str, int]] = Field(default_factory=dict)


def open_prepared(root: str | Path, check_shards: bool = True) -> Prepared:
    """The dataset in a folder or at a URL; reads `dataset.json` and, in a folder, checks every shard's size.

    Without `check_shards` it looks at `dataset.json` alone, for who checks the shards one by one. The hash of a shard is
    checked before it is read for the first time (`datasets.intact`), or when it is fetched.

    Raises FileNotFoundError with the command that prepares it if there is no `dataset.json`, and DatasetError (a
    ValueError) that names what is damaged, or why a URL cannot be read, and what to do.
    """
    folder = storage.local_folder(root)
    place = str(root).rstrip("/") if folder is None else str(folder)
    data = _read(place, folder)
    name = f"{place}/{FILE_NAME}"
    try:
        file = File.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise DatasetError(f"{name}: {where}: {first['msg']}; {remedy(place)}") from None
    if problem := _inconsistency(file) or (_missing(folder, file) if folder and check_shards else None):
        raise DatasetError(f"{name}: {problem}; {remedy(place)}")
    return Prepared(
        root=place,
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
        groups={domain: tuple(map(tuple, groups)) for domain, groups in file.groups.items()},
        bad_images=file.bad_images,
        reencoded=file.reencoded,
    )


def verify_prepared(prepared: Prepared) -> None:
    """Hash every shard again where it lies. Raises DatasetError naming each one that is missing or differs."""
    if problems := [problem for shard in prepared.shards if (problem := _difference(prepared, shard))]:
        raise DatasetError("\n".join([*problems, remedy(prepared.root)]))


def file_sha256(path: Path) -> str:
    """The sha256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(place: str, folder: Path | None) -> bytes:
    """The bytes of `dataset.json`."""
    try:
        return (folder / FILE_NAME).read_bytes() if folder else storage.read_bytes(storage.join(place, FILE_NAME))
    except storage.MissingError:
        command = f"python -m orchestrator prepare {place.rpartition('/')[2]} --to"
        todo = f"{command} FOLDER, to be served there" if place.startswith("http") else f"{command} {place}"
        raise FileNotFoundError(f"no prepared dataset at {place}; prepare it with: {todo}") from None
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(
            f"no prepared dataset in {place}; prepare it with: "
            f"python -m orchestrator prepare {Path(place).name} --to {place}"
            " (and --from FOLDER_OR_ARCHIVE with the files as published, if it is not a generated dataset)"
        ) from None


def _difference(prepared: Prepared, shard: ShardInfo) -> str | None:
    remote = prepared.remote(shard)
    if remote is not None:  # not through the cache, whose copy may be whole while the other is not
        try:
            with tempfile.TemporaryFile() as file:
                storage.fetch(remote.url, file, shard.bytes, shard.sha256)
        except storage.StorageError as error:
            return str(error)
        return None
    path = Path(prepared.root) / shard.name
    if not path.is_file():
        return f"{path}: missing"
    found = file_sha256(path)
    return None if found == shard.sha256 else f"{path}: sha256 is {found}, expected {shard.sha256}"


def _inconsistency(file: File) -> str | None:
    """What is wrong between the numbers in `dataset.json`."""
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
        if shard.split not in file.counts.get(shard.domain, {}):
            return f"shard {shard.name} is of {shard.domain}/{shard.split}, which counts does not have"
    names = Counter(PurePosixPath(shard.name) for shard in file.shards)
    if twice := [str(name) for name, times in names.items() if times > 1]:
        return f"shard {twice[0]} is listed more than once"
    return None


def _missing(folder: Path, file: File) -> str | None:
    """What is wrong with the files beside `dataset.json`."""
    for shard in file.shards:
        path = folder / shard.name
        if not path.is_file():
            return f"shard {path} is missing, expected sha256 {shard.sha256}"
        if (size := path.stat().st_size) != shard.bytes:
            hashes = f"its sha256 is {file_sha256(path)}, expected {shard.sha256}"
            return f"shard {path} has {size} bytes, expected {shard.bytes}; {hashes}"
    return None


def remedy(place: str) -> str:
    """What to do about a prepared dataset that is damaged."""
    if "://" in place:
        return f"prepare the dataset again and copy it to {place}"
    return f"delete the folder {place} and prepare the dataset again"
