"""Datasets of images under `<domain>/<class>/`, in a folder or in archives, described by a card.

Which images belong to a split is said by list files ('path label' a line); or by `test_fraction`: of each domain and
class, the images whose paths have the smallest hashes with `split_seed` are for testing; or all are `all_in` one split.
The order of a split is that of its list, else of the sorted paths. With lists, images that no list names are not used;
without, every file below a domain's folder must be an image in a class folder, except those an operating system leaves
behind ('.DS_Store' and other hidden files, 'Thumbs.db'). A dataset without a level of domains has one, whose folder is
the one with the class folders.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

from datasets import DatasetError
from datasets.base import Dataset, DatasetInfo, Entry, Published, PublishedFile
from datasets.card import Card, CardFile, read_card
from datasets.sources.names import is_text, listed, shown
from datasets.tar_index import IMAGE_EXTENSIONS
from datasets.wording import number_of


@dataclass(frozen=True, slots=True)
class Layout:
    """How a dataset's files lie: folders by domain and by label, and how splits are told apart."""

    domain_folders: Mapping[str, str]
    """domain -> its folder: a name, a path of several parts, or '.' for the top"""
    class_folders: Sequence[str]
    lists: Mapping[str, str] | None = None
    """split -> path of its list file; '{domain}' stands for the domain's folder"""
    test_fraction: float = 0.0
    """of each domain and class, where there are no lists"""
    split_seed: int = 0
    all_in: str | None = None
    """the only split there is"""
    roots: Sequence[str] = ()
    """where domain folders and lists may lie instead of at the top; the first that has them is taken"""


class Folder(Dataset):
    """A dataset of image files; `from_card` makes one from a YAML card."""

    def __init__(self, info: DatasetInfo, layout: Layout, files: Sequence[PublishedFile] = ()) -> None:
        self.info = info
        self.layout = layout
        self.files = tuple(files)
        self._labels = {folder: label for label, folder in enumerate(layout.class_folders)}
        tops = (*layout.domain_folders.values(), *layout.roots)
        self.roots = tuple(dict.fromkeys(PurePosixPath(top).parts[0] for top in tops if top != "."))

    @classmethod
    def from_card(cls, path: Path) -> Self:
        """The dataset a card describes. Raises DatasetError with file and line of each mistake in the card."""
        card = read_card(path)
        return cls(_info(card), _layout(card), [_file(file) for file in card.files])

    def splits(self, domain: str) -> tuple[str, ...]:
        """As `Dataset.splits`; one alone if the card says so."""
        return super().splits(domain) if self.layout.all_in is None else (self.layout.all_in,)

    def entries(self, domain: str, split: str, source: Published | None) -> Sequence[Entry]:
        """The images of one split; a key is the path below the domain folder with '-' and '_' for slashes and dots.

        Raises FileNotFoundError for a missing source, list or image, DatasetError for a list or folder that does not
        fit the card.
        """
        if source is None:
            raise FileNotFoundError(
                f"dataset {self.info.name} needs its published files: give --from FOLDER_OR_ARCHIVE (from {self.info.source})"
            )
        if split not in self.splits(domain):
            raise DatasetError(
                f"dataset {self.info.name} has no {domain}/{split}, only {', '.join(self.splits(domain))}"
            )
        if self.layout.lists is not None:
            images, prefix = self._listed(source, domain, self.layout.lists[split])
        else:
            images, prefix = self._found(source, domain, split)
        keys = keys_of([path.removeprefix(prefix) for path, _ in images])
        return [Entry(key, label, path) for key, (path, label) in zip(keys, images, strict=True)]

    def _listed(self, files: Published, domain: str, pattern: str) -> tuple[list[tuple[str, int]], str]:
        """(path, label) of the lines of a list that belong to a domain, all of them checked; and the domain's folder."""
        folder = self.layout.domain_folders[domain]
        names = [_joined(root, pattern.replace("{domain}", folder)) for root in (*self.layout.roots, "")]
        name = next((name for name in names if files.exists(name)), None)
        if name is None:
            raise FileNotFoundError(f"list {files.where(names[0])} does not exist; get it from {self.info.source}")
        root = (*self.layout.roots, "")[names.index(name)]
        inside, images, problems = _slash(folder), [], []
        for number, line in enumerate(_text(files, name).splitlines(), start=1):
            if not line.strip():
                continue
            parsed = self._parse(line)
            if isinstance(parsed, str):
                problems.append(f"{files.where(name)}:{number}: {parsed}")
            elif parsed[0].startswith(inside):
                images.append((_joined(root, parsed[0]), parsed[1]))
        if problems:
            raise DatasetError(listed(problems, f"list {files.where(name)} has {number_of(len(problems), 'bad line')}"))
        if missing := [files.where(path) for path, _ in images if not files.exists(path)]:
            raise FileNotFoundError(listed(missing, f"list {files.where(name)} names {_that(len(missing))} not exist"))
        return images, _slash(_joined(root, folder))

    def _parse(self, line: str) -> tuple[str, int] | str:
        """(path, label) of a line of a list, or what is wrong with it."""
        path, _, label = line.strip().rpartition(" ")
        if not (path and label.isdecimal()):
            path, label = line.strip(), ""
        path = path.strip()
        parts = PurePosixPath(path).parts
        if path.startswith("/") or ".." in parts or "\\" in path:
            return f"path {path!r} leads outside the dataset's folder"
        path = "/".join(parts)
        inside = next((_slash(f) for f in self.layout.domain_folders.values() if path.startswith(_slash(f))), None)
        below = parts if inside is None else PurePosixPath(path.removeprefix(inside)).parts
        if inside is None or len(below) < 2:
            return f"expected '<domain>/<class>/<image> <label>' with domain one of {self._folders()}, got {line.strip()!r}"
        if below[0] not in self._labels:
            return f"folder {below[0]!r} is no class of dataset {self.info.name}"
        if extension(path) not in IMAGE_EXTENSIONS:
            return f"{path!r} is no image; known: {', '.join(IMAGE_EXTENSIONS)}"
        if label and int(label) != self._labels[below[0]]:
            return f"label {label} does not fit: folder {below[0]!r} is class {self._labels[below[0]]}"
        return path, self._labels[below[0]]

    def _found(self, files: Published, domain: str, split: str) -> tuple[list[tuple[str, int]], str]:
        """(path, label) of the images below a domain's folder that fall into a split; and that folder."""
        folder = self.layout.domain_folders[domain]
        places = [_joined(root, folder) for root in (*self.layout.roots, "")]
        place, paths = next(((p, found) for p in places if (found := files.below(_top(p)))), (places[0], []))
        prefix = _slash(place)
        by_class: dict[str, list[str]] = defaultdict(list)
        problems = []
        for path in paths:
            parts = PurePosixPath(path.removeprefix(prefix)).parts
            if any(part.startswith(".") for part in parts) or parts[-1] == "Thumbs.db":
                continue
            if len(parts) < 2 or parts[0] not in self._labels:
                problems.append(f"{files.where(path)}: lies in no class folder")
            elif not is_text(path):
                problems.append(f"{files.where(path)}: its name is not UTF-8 text; rename it")
            elif extension(path) not in IMAGE_EXTENSIONS:
                problems.append(f"{files.where(path)}: is no image; known: {', '.join(IMAGE_EXTENSIONS)}")
            else:
                by_class[parts[0]].append(path)
        if problems:
            raise DatasetError(
                listed(problems, f"{files.where(_top(place))} has {_that(len(problems))} not fit the card")
            )
        if not by_class:
            expected = " or ".join(f"{_slash(place)}<class>/<image>" for place in places)
            raise FileNotFoundError(
                f"no images below {files.where(_top(places[0]))}; expected {expected}, from {self.info.source}"
            )
        chosen = {path for paths in by_class.values() for path in self._split(paths, split, prefix, folder)}
        return [
            (path, self._labels[name]) for name, paths in sorted(by_class.items()) for path in paths if path in chosen
        ], prefix

    def _split(self, paths: list[str], split: str, prefix: str, folder: str) -> list[str]:
        """The images of one domain and class that belong to a split; at least one stays for training.

        What is hashed begins with the domain's folder, wherever that lies: an archive and its unpacked, renamed folder
        give the same split.
        """
        if self.layout.all_in is not None:
            return paths
        num_test = min(round(len(paths) * self.layout.test_fraction), len(paths) - 1)
        return seeded_order(paths, self.layout.split_seed, lambda path: _slash(folder) + path.removeprefix(prefix))[
            slice(num_test) if split == "test" else slice(num_test, None)
        ]

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
        counts=_counts(card),
        class_counts={domain: {str(s): counts for s, counts in by.items()} for domain, by in card.class_counts.items()},
        optional_domains=card.optional_domains,
        groups={domain: tuple(_group(group, card) for group in groups) for domain, groups in card.groups.items()},
        notes=card.notes,
    )


def _counts(card: Card) -> dict[str, dict[str, int]]:
    """Images of each split; those of the classes add up to them where the card gives only these."""
    counts = {domain: {str(s): sum(counts) for s, counts in by.items()} for domain, by in card.class_counts.items()}
    for domain, by in card.counts.items():
        counts[domain] = counts.get(domain, {}) | {str(split): count for split, count in by.items()}
    return {domain: counts[domain] for domain in card.domains if domain in counts}


def _group(group: str | tuple[str, ...], card: Card) -> tuple[int, ...]:
    names = list(card.classnames)
    return tuple(names.index(name) for name in ((group,) if isinstance(group, str) else group))


def _file(file: CardFile) -> PublishedFile:
    return PublishedFile(
        name=file.name,
        urls=file.url,
        bytes=file.bytes,
        checksum=file.checksum,
        domains=file.domains,
        mount=file.mount,
        unpacked=file.unpacked,
    )


def _layout(card: Card) -> Layout:
    lists = None if card.lists is None else {"train": card.lists.train, "test": card.lists.test}
    return Layout(
        card.domains,
        tuple(card.classnames.values()),
        lists,
        test_fraction=card.test_fraction or 0.0,
        split_seed=card.split_seed,
        all_in=card.all_in,
        roots=card.root,
    )


def extension(path: str) -> str:
    """The last suffix of a path in lower case without its dot."""
    return PurePosixPath(path).suffix.lower().removeprefix(".")


def seeded_order(paths: Sequence[str], seed: int, name: Callable[[str], str] = str) -> list[str]:
    """Paths in an order that depends on nothing but the seed and their names, for holdouts that anyone can repeat.

    Raises DatasetError for a name that is no text.
    """
    if bad := [path for path in paths if not is_text(path)]:
        raise DatasetError(f"image {shown(bad[0])}: its name is not UTF-8 text; rename it")
    return sorted(paths, key=lambda path: hashlib.sha256(f"{seed}/{name(path)}".encode()).digest())


def _joined(root: str, path: str) -> str:
    """`path` below `root`; '' and '.' are the top."""
    return PurePosixPath(root, path).as_posix()


def _top(place: str) -> str:
    """A folder as `Published.below` names it: the top is ''."""
    return "" if place == "." else place


def _slash(folder: str) -> str:
    return "" if folder == "." else f"{folder}/"


def keys_of(paths: list[str]) -> list[str]:
    """Keys of images by path, with '-' and '_' for slashes and dots; where two are equal, both get a hash of their path."""
    plain = [str(PurePosixPath(path).with_suffix("")).replace("/", "-").replace(".", "_") for path in paths]
    times = Counter(plain)
    return [
        key if times[key] == 1 else f"{key}-{hashlib.sha256(path.encode(errors='surrogatepass')).hexdigest()[:8]}"
        for key, path in zip(plain, paths, strict=True)
    ]


def _text(files: Published, name: str) -> str:
    try:
        return files.read(name).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DatasetError(f"list {files.where(name)} is not UTF-8 text: {error}") from None


def _that(number: int) -> str:
    return number_of(number, "file that does", "files that do")
