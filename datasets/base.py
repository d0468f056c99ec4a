"""What a dataset file provides: facts about the dataset, its published files, and its images as encoded samples.

A dataset knows nothing of models or methods. It lists what its authors publish as entries and reads them;
`datasets.shard_writer` writes them as webdataset shards and `datasets.stream` reads those back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

SPLITS = ("train", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInfo:
    """Facts about a dataset. `counts` is what `prepare` must find: domain -> split ('train' or 'test') -> images."""

    name: str
    title: str
    revision: str
    domains: tuple[str, ...]
    """all of them, the optional ones included"""
    classnames: tuple[str, ...]
    templates: tuple[str, ...]
    source: str
    license: str
    citation: str
    counts: Mapping[str, Mapping[str, int]]
    class_counts: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)
    """domain -> split -> images of each class, where they are known"""
    optional_domains: tuple[str, ...] = ()
    """domains that `prepare` and `targets: all` leave out unless they are named"""
    groups: Mapping[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)
    """domain -> the classes its images have, each as the labels that count as it; the logits of all other labels are left
    out before the softmax. A domain without an entry has all classes, each on its own. An image's label is the first of its
    group"""
    seen_unseen: tuple[str, str] | None = None
    """(domain of seen classes, domain of unseen classes) of generalised zero-shot learning"""
    notes: tuple[str, ...] = ()
    """known defects and facts that a user must know, a sentence each"""

    def __post_init__(self) -> None:
        for key in ("domains", "classnames", "templates"):
            if not getattr(self, key):
                raise ValueError(f"dataset {self.name}: {key} must not be empty")
        if len(set(self.domains)) != len(self.domains):
            raise ValueError(f"dataset {self.name}: domains repeat: {', '.join(self.domains)}")
        if bad := [t for t in self.templates if t.count("{}") != 1]:
            raise ValueError(f"dataset {self.name}: template {bad[0]!r} must contain {{}} exactly once")
        named = {*self.counts, *self.class_counts, *self.optional_domains, *self.groups, *(self.seen_unseen or ())}
        if unknown := sorted(named - set(self.domains)):
            raise ValueError(f"dataset {self.name}: {unknown[0]!r} is no domain of it: {', '.join(self.domains)}")

    @property
    def default_domains(self) -> tuple[str, ...]:
        """The domains that are prepared and evaluated when none is named."""
        return tuple(domain for domain in self.domains if domain not in self.optional_domains)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFile:
    """One file as the authors publish it: an archive, a list, a file of labels."""

    name: str
    """path below the folder given to `prepare`: 'real.zip', 'domainnet/txt/real_train.txt'"""
    urls: tuple[str, ...] = ()
    """where the authors or known mirrors offer it"""
    bytes: int | None = None
    checksum: str | None = None
    """'sha256:...' or 'md5:...' in hexadecimal digits, where the authors or a library that is widely used state it"""
    domains: tuple[str, ...] = ()
    """domains that need it; empty: all"""
    mount: str = ""
    """folder that an archive's content appears in; empty: at the top"""
    unpacked: tuple[str, ...] = ()
    """files or folders whose presence says that the archive was unpacked by hand"""
    optional: bool = False
    """used if it is there and never downloaded: it lies in another file, or is one of several to choose from"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of a split before it is read. `key` is unique within domain and split and has no dots or slashes."""

    key: str
    label: int
    path: str
    """where `Dataset.read` finds it: a path below the source, or whatever its dataset understands"""
    size: int | None = None
    """bytes as published, where known without reading"""
    caption: str | None = None


@dataclass(frozen=True, slots=True)
class RawSample:
    """One image as it goes into a shard."""

    key: str
    image: bytes
    extension: str
    label: int
    caption: str | None = None


class Published(Protocol):
    """Files by path relative to a root, with '/' between the parts; see `datasets.sources`."""

    def exists(self, path: str) -> bool:
        """Whether there is a plain file of this path."""
        ...

    def read(self, path: str) -> bytes:
        """The content of a file. Raises FileNotFoundError."""
        ...

    def size(self, path: str) -> int:
        """Bytes of a file, without reading it. Raises FileNotFoundError."""
        ...

    def state(self, path: str) -> tuple[int, int]:
        """(bytes, when a file was changed in ns); 0 for a member of an archive, which is told by that archive's own state.

        Raises FileNotFoundError.
        """
        ...

    def below(self, folder: str) -> list[str]:
        """Paths of all files below a folder ('' for all), sorted; empty if there is no such folder."""
        ...

    def where(self, path: str) -> str:
        """The path with the place of the root before it, for messages."""
        ...


class Dataset:
    """Base of all datasets; a subclass sets `info` and implements `entries`. It must be picklable: workers read images."""

    info: DatasetInfo
    generated: ClassVar[bool] = False
    """True for a dataset made from nothing: it needs no files and `run` prepares it when it is missing."""
    source_tells: ClassVar[bool] = False
    """True where `info.source` says which data it is made from, so that another source means other data"""
    files: tuple[PublishedFile, ...] = ()
    """what its authors publish; empty for a generated dataset and for one that is just a folder or an archive"""
    roots: tuple[str, ...] = ()
    """folders expected at the top: an archive given as the source keeps these, any other single folder around is left out"""

    def splits(self, domain: str) -> tuple[str, ...]:
        """The splits of a domain: those it has counts for, both if it has none."""
        counts = self.info.counts.get(domain)
        return tuple(split for split in SPLITS if counts is None or split in counts)

    def entries(self, domain: str, split: str, source: Published | None) -> Sequence[Entry]:
        """The images of one split in their fixed order; reads lists and listings, no images.

        `source` has the files as published, None for a generated dataset. Raises FileNotFoundError naming what is missing
        and where to get it, DatasetError for lists that do not fit.
        """
        raise NotImplementedError

    def read(self, entry: Entry, source: Published | None) -> tuple[bytes, str]:
        """(encoded image, extension in lower case without dot) of an entry; called in worker processes, in any order."""
        if source is None:
            raise NotImplementedError
        return source.read(entry.path), entry.path.rpartition(".")[2].lower()
