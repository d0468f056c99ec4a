"""Tools of the downstream datasets: one domain called as the dataset, class names and prompts of CLIP, official splits.

Where torchvision has a class that knows the official split, that class lists the images (`datasets.torchvision_lists`): six
of the ten. Its classes for Caltech-101, EuroSAT and SUN397 know no splits and need every image unpacked, the one for UCF101
decodes clips, not middle frames; those four read their authors' files themselves. No archive is ever unpacked.

Splits: `train` is all that an official split offers for training (train and val together where there are two). Where the
authors published no split, `Holdout` keeps back a seeded share of each class, and `CoopSplit` reads the split that most
papers on prompt learning use; numbers of the two cannot be compared.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Final

from pydantic import TypeAdapter, ValidationError

from datasets import DatasetError
from datasets.base import Dataset, DatasetInfo, Entry, Published, PublishedFile
from datasets.clip_templates import CLIP_TEMPLATES
from datasets.folder import extension, keys_of, seeded_order
from datasets.lists import class_table
from datasets.sources import missing
from datasets.tar_index import IMAGE_EXTENSIONS

HOLDOUT: Final = 0.3
"""share of each class that `Holdout` tests on: that of CoOp's own splits"""
_ZHOU = TypeAdapter(dict[str, list[tuple[str, int, str]]])
_MAX_NAMED = 20
Listing = tuple[str, list[tuple[str, int]]]
"""folder ('' or ending in '/') and (path below it, label) of each image of a split, in order"""


class Downstream(Dataset, ABC):
    """A dataset of one domain; a subclass lists the images of a split."""

    def __init__(
        self,
        name: str,
        counts: Mapping[str, int],
        tops: Sequence[str],
        files: Sequence[PublishedFile],
        *,
        title: str,
        source: str,
        license: str,
        citation: str,
        table: Mapping[str, str] | None = None,
        revision: str = "official",
        notes: Sequence[str] = (),
    ) -> None:
        """`tops`: where its files may lie ('' or ending in '/'); `table`: as `class_table` gives it."""
        table = class_table(name) if table is None else table
        info = DatasetInfo(
            name=name,
            title=title,
            revision=revision,
            domains=(name,),
            classnames=tuple(table.values()),
            templates=CLIP_TEMPLATES[name],
            counts={name: dict(counts)},
            source=source,
            license=license,
            citation=citation,
            notes=tuple(notes),
        )
        self._set(info, {key: label for label, key in enumerate(table)}, tops, files)

    def _set(
        self, info: DatasetInfo, labels: Mapping[str, int], tops: Sequence[str], files: Sequence[PublishedFile]
    ) -> None:
        self.info, self.labels = info, dict(labels)
        self.tops, self.files = tuple(tops), tuple(files)
        self.roots = tuple(dict.fromkeys(PurePosixPath(top).parts[0] for top in tops if top))

    @abstractmethod
    def listed(self, split: str, files: Published) -> Listing:
        """The images of one split as the authors' lists have them."""

    def entries(self, domain: str, split: str, source: Published | None) -> Sequence[Entry]:
        """As `Dataset.entries`; a key is an image's path with '-' and '_' for slashes and dots."""
        if source is None:
            raise FileNotFoundError(
                f"dataset {self.info.name} needs its published files: give --from FOLDER (from {self.info.source})"
            )
        folder, images = self.listed(split, source)
        absent = [folder + path for path, _ in images if not source.exists(folder + path)]
        if absent:
            more = f"\n... and {len(absent) - _MAX_NAMED} more" if len(absent) > _MAX_NAMED else ""
            lines = "\n".join(source.where(path) for path in absent[:_MAX_NAMED])
            raise FileNotFoundError(
                f"{len(absent)} of {len(images)} images of {self.info.name}/{split} do not exist; "
                f"{missing(source, absent[0])}\n{lines}{more}"
            )
        keys = keys_of([path for path, _ in images])
        return [Entry(key, label, folder + path) for key, (path, label) in zip(keys, images, strict=True)]

    def top(self, files: Published, path: str) -> str:
        """The one of `tops` that has a file. Raises FileNotFoundError that says where to get it."""
        for top in self.tops:
            if files.exists(top + path):
                return top
        tried = ", ".join(files.where(top + path) for top in self.tops[1:])
        also = f" (nor {tried})" if tried else ""
        raise FileNotFoundError(
            f"{missing(files, self.tops[0] + path)}{also}; dataset {self.info.name} is from {self.info.source}"
        )

    def label(self, key: str, place: str) -> int:
        """The label of a class by its authors' name; `place` is where that stands, for the error."""
        if key not in self.labels:
            raise DatasetError(f"{place}: {key!r} is no class of dataset {self.info.name}")
        return self.labels[key]


class Holdout(Downstream):
    """Images in a folder per class, of which the `HOLDOUT` share with the smallest hashes is for testing.

    The hash is of '0/<class>/<file>', so that the split is the same everywhere and for ever. Folders of `ignored` and
    hidden files are passed over; any other file must be an image of a class.
    """

    ignored: frozenset[str] = frozenset()

    def listed(self, split: str, files: Published) -> Listing:
        """As `Downstream.listed`."""
        top, paths = next(((top, found) for top in self.tops if (found := self._inside(files, top))), ("", []))
        if not paths:
            raise FileNotFoundError(
                f"no images below {files.where(self.tops[0].rstrip('/'))}; dataset {self.info.name} is from {self.info.source}"
            )
        by_class: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            key = path.partition("/")[0]
            self.label(key, files.where(top + path))
            if extension(path) not in IMAGE_EXTENSIONS:
                raise DatasetError(f"{files.where(top + path)}: is no image; known: {', '.join(IMAGE_EXTENSIONS)}")
            by_class[key].append(path)
        images = []
        for key, members in sorted(by_class.items(), key=lambda item: self.labels[item[0]]):
            num_test = round(len(members) * HOLDOUT)
            ranked = seeded_order(members, 0)
            images += [
                (path, self.labels[key])
                for path in sorted(ranked[slice(num_test) if split == "test" else slice(num_test, None)])
            ]
        return top, images

    def _inside(self, files: Published, top: str) -> list[str]:
        """Paths below `top` that lie in a folder, if any of these folders is a class."""
        below = [path.removeprefix(top) for path in files.below(top.rstrip("/"))]
        below = [path for path in below if "/" in path and not any(part.startswith(".") for part in path.split("/"))]
        if not any(path.partition("/")[0] in self.labels for path in below):
            return []
        return [path for path in below if path.partition("/")[0] not in self.ignored]


class CoopSplit(Downstream):
    """The split of CoOp (KaiyangZhou/CoOp@ff61507), over all images of a dataset; train and val are `train`.

    It is a JSON file, `split_zhou_*.json`, to be got by hand. Links are those of CoOp's DATASETS.md, which states no checksums.
    """

    def __init__(
        self,
        whole: Downstream,
        counts: Mapping[str, int],
        *,
        list_name: str,
        drive_id: str,
        list_tops: Sequence[str],
        tops: Sequence[str],
        notes: Sequence[str] = (),
    ) -> None:
        """`whole` has the facts, classes and files; the list may lie in `list_tops`, the images in `tops`."""
        split_file = PublishedFile(name=list_name, urls=(f"https://drive.google.com/file/d/{drive_id}/view",))
        name, notes = whole.info.name, (*whole.info.notes, *notes)
        info = replace(whole.info, revision="coop", counts={name: dict(counts)}, notes=notes)
        self._set(info, whole.labels, tops, (*whole.files, split_file))
        self.list_name, self.list_tops = list_name, tuple(list_tops)

    def listed(self, split: str, files: Published) -> Listing:
        """As `Downstream.listed`."""
        name = next((top + self.list_name for top in self.list_tops if files.exists(top + self.list_name)), None)
        if name is None:
            raise FileNotFoundError(
                f"{missing(files, self.list_name)}; or prepare {self.info.name}, whose split needs no such file"
            )
        try:
            content = _ZHOU.validate_json(files.read(name))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise DatasetError(f"{files.where(name)}: {where}: {first['msg']}") from None
        if absent := {"train", "val", "test"} - set(content):
            raise DatasetError(
                f"{files.where(name)}: key {sorted(absent)[0]!r} is missing; it has {', '.join(content)}"
            )
        rows = content["test"] if split == "test" else content["train"] + content["val"]
        images = [(path, self._checked(path, label, f"{files.where(name)}: {path}")) for path, label, _ in rows]
        return self.top(files, images[0][0]) if images else "", images

    def _checked(self, path: str, label: int, place: str) -> int:
        if not 0 <= label < len(self.labels):
            raise DatasetError(f"{place}: label {label} is none of {len(self.labels)} classes")
        if path.startswith("/") or ".." in PurePosixPath(path).parts or "\\" in path:
            raise DatasetError(f"{place}: leads outside the dataset's folder")
        folder, inside, _ = path.partition("/")
        if inside and self.label(folder, place) != label:
            raise DatasetError(f"{place}: label {label} does not fit: folder {folder!r} is class {self.labels[folder]}")
        return label
