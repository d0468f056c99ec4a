"""Datasets of images under `<domain>/<class>/`, in a folder or a tar archive, described by a card.

Which images belong to a split is said by list files ('path label' a line), or by `test_fraction`: of each domain and
class, the images whose paths have the smallest hashes with `split_seed` are for testing. The order of a split is that of
its list, else of the sorted paths. With lists, images that no list names are not used; without, every file below a class
folder must be an image, except those an operating system leaves behind ('.DS_Store' and other hidden files, 'Thumbs.db').
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

from datasets import DatasetError
from datasets.base import Dataset, DatasetInfo, RawSample
from datasets.card import Card, read_card
from datasets.published import Published, open_published
from datasets.tar_index import IMAGE_EXTENSIONS

_MAX_NAMED = 20


@dataclass(frozen=True, slots=True)
class Layout:
    """How a dataset's files lie: folders by domain and by label, and how splits are told apart."""

    domain_folders: Mapping[str, str]
    class_folders: Sequence[str]
    lists: Mapping[str, str] | None = None
    """split -> path of its list file; '{domain}' stands for the domain's folder"""
    test_fraction: float = 0.0
    """of each domain and class, where there are no lists"""
    split_seed: int = 0


class Folder(Dataset):
    """A dataset of image files; `from_card` makes one from a YAML card."""

    def __init__(self, info: DatasetInfo, layout: Layout) -> None:
        self.info = info
        self.layout = layout
        self._labels = {folder: label for label, folder in enumerate(layout.class_folders)}

    @classmethod
    def from_card(cls, path: Path) -> Self:
        """The dataset a card describes. Raises DatasetError with file and line of each mistake in the card."""
        card = read_card(path)
        return cls(_info(card), _layout(card))

    def samples(self, domain: str, split: str, source: Path | None) -> Iterator[RawSample]:
        """The images of one split; `source` is the folder or archive with the domain folders.

        A key is the path below the domain folder with '-' and '_' for slashes and dots. Raises FileNotFoundError for a
        missing source, list or image, DatasetError for a list or folder that does not fit the card.
        """
        if source is None:
            raise FileNotFoundError(
                f"dataset {self.info.name} needs its published files: give --from FOLDER_OR_ARCHIVE (from {self.info.source})"
            )
        files = open_published(source, self.layout.domain_folders.values())
        if self.layout.lists is not None:
            images = self._listed(files, domain, self.layout.lists[split])
        else:
            images = self._found(files, domain, split)
        keys = _keys([path.partition("/")[2] for path, _ in images])
        for key, (path, label) in zip(keys, images, strict=True):
            yield RawSample(key, files.read(path), _extension(path), label)

    def _listed(self, files: Published, domain: str, pattern: str) -> list[tuple[str, int]]:
        """(path, label) of the lines of a list that belong to a domain, all of them checked."""
        folder = self.layout.domain_folders[domain]
        name = pattern.replace("{domain}", folder)
        if not files.exists(name):
            raise FileNotFoundError(f"list {files.where(name)} does not exist; get it from {self.info.source}")
        images, problems = [], []
        for number, line in enumerate(_text(files, name).splitlines(), start=1):
            if not line.strip():
                continue
            parsed = self._parse(line)
            if isinstance(parsed, str):
                problems.append(f"{files.where(name)}:{number}: {parsed}")
            elif PurePosixPath(parsed[0]).parts[0] == folder:
                images.append(parsed)
        if problems:
            raise DatasetError(_some(problems, f"list {files.where(name)} has {len(problems)} bad lines"))
        if missing := [files.where(path) for path, _ in images if not files.exists(path)]:
            raise FileNotFoundError(
                _some(missing, f"list {files.where(name)} names {len(missing)} files that do not exist")
            )
        return images

    def _parse(self, line: str) -> tuple[str, int] | str:
        """(path, label) of a line of a list, or what is wrong with it."""
        path, _, label = line.strip().rpartition(" ")
        if not (path and label.isdecimal()):
            path, label = line.strip(), ""
        path = path.strip()
        parts = PurePosixPath(path).parts
        if path.startswith("/") or ".." in parts or "\\" in path:
            return f"path {path!r} leads outside the dataset's folder"
        if len(parts) < 3 or parts[0] not in self.layout.domain_folders.values():
            return f"expected '<domain>/<class>/<image> <label>' with domain one of {self._folders()}, got {line.strip()!r}"
        if parts[1] not in self._labels:
            return f"folder {parts[1]!r} is no class of dataset {self.info.name}"
        if _extension(path) not in IMAGE_EXTENSIONS:
            return f"{path!r} is no image; known: {', '.join(IMAGE_EXTENSIONS)}"
        if label and int(label) != self._labels[parts[1]]:
            return f"label {label} does not fit: folder {parts[1]!r} is class {self._labels[parts[1]]}"
        return "/".join(parts), self._labels[parts[1]]

    def _found(self, files: Published, domain: str, split: str) -> list[tuple[str, int]]:
        """(path, label) of the images below a domain's folder that fall into a split."""
        folder = self.layout.domain_folders[domain]
        by_class: dict[str, list[str]] = defaultdict(list)
        problems = []
        for path in files.below(folder):
            parts = PurePosixPath(path).parts
            if any(part.startswith(".") for part in parts) or parts[-1] == "Thumbs.db":
                continue
            if len(parts) < 3 or parts[1] not in self._labels:
                problems.append(f"{files.where(path)}: lies in no class folder")
            elif _extension(path) not in IMAGE_EXTENSIONS:
                problems.append(f"{files.where(path)}: is no image; known: {', '.join(IMAGE_EXTENSIONS)}")
            else:
                by_class[parts[1]].append(path)
        if problems:
            raise DatasetError(
                _some(problems, f"{files.where(folder)} has {len(problems)} files that do not fit the card")
            )
        if not by_class:
            raise FileNotFoundError(
                f"no images below {files.where(folder)}; expected {folder}/<class>/<image>, from {self.info.source}"
            )
        chosen = {path for paths in by_class.values() for path in self._split(paths, split)}
        return [
            (path, self._labels[name]) for name, paths in sorted(by_class.items()) for path in paths if path in chosen
        ]

    def _split(self, paths: list[str], split: str) -> list[str]:
        """The images of one domain and class that belong to a split; at least one stays for training."""
        num_test = min(round(len(paths) * self.layout.test_fraction), len(paths) - 1)
        ranked = sorted(paths, key=lambda path: hashlib.sha256(f"{self.layout.split_seed}/{path}".encode()).digest())
        return ranked[:num_test] if split == "test" else ranked[num_test:]

    def _folders(self) -> str:
        return ", ".join(self.layout.domain_folders.values())


def _info(card: Card) -> DatasetInfo:
    return DatasetInfo(
        name=card.name,
        title=card.title,
        revision=card.revision,
        domains=tuple(card.domains),
        classnames=tuple(card.classnames),
        templates=card.templates,
        source=card.source,
        license=card.license,
        citation=card.citation,
        counts={
            domain: {str(split): count for split, count in splits.items()} for domain, splits in card.counts.items()
        },
    )


def _layout(card: Card) -> Layout:
    lists = None if card.lists is None else {"train": card.lists.train, "test": card.lists.test}
    return Layout(card.domains, tuple(card.classnames.values()), lists, card.test_fraction or 0.0, card.split_seed)


def _extension(path: str) -> str:
    return PurePosixPath(path).suffix.lower().removeprefix(".")


def _keys(paths: list[str]) -> list[str]:
    """Keys of images by path; where two would be equal, both get a hash of their path."""
    plain = [str(PurePosixPath(path).with_suffix("")).replace("/", "-").replace(".", "_") for path in paths]
    times = Counter(plain)
    return [
        key if times[key] == 1 else f"{key}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"
        for key, path in zip(plain, paths, strict=True)
    ]


def _text(files: Published, name: str) -> str:
    try:
        return files.read(name).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DatasetError(f"list {files.where(name)} is not UTF-8 text: {error}") from None


def _some(lines: list[str], headline: str) -> str:
    rest = [f"... and {len(lines) - _MAX_NAMED} more"] if len(lines) > _MAX_NAMED else []
    return "\n".join([headline, *lines[:_MAX_NAMED], *rest])
