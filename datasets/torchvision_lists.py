"""Official splits as torchvision's dataset classes list them, whatever the published files lie in.

torchvision (0.29) works on unpacked folders, but its constructors open nothing beside small list files. So those alone are
copied into a temporary folder laid out as torchvision wants it, with an empty folder for the images, which stay where they
are: in archives, most often. Of every image torchvision says the path and the number of its class; here the path becomes
one below the published folder and the class one of ours.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from datasets import DatasetError
from datasets.base import Published
from datasets.downstream import Downstream, Listing
from datasets.sources.mat import check_mat
from datasets.sources.names import shown, unsafe_name

_LONGEST_ERROR = 200


@dataclass(frozen=True, slots=True)
class Portion:
    """A split of torchvision's: a whole split here, or a part of one."""

    split: str
    lists: tuple[str, ...]
    """what torchvision reads for it, below one of the dataset's `tops`; the images lie below that of the first"""
    images: str = "images/"
    """folder of the images, below the same"""


class TorchvisionLists(Downstream):
    """A dataset whose images and labels one of torchvision's classes lists; a subclass says which, and its files."""

    reader: ClassVar[str]
    """the class, of torchvision.datasets"""
    home: ClassVar[str]
    """folder below its root in which torchvision expects what lies in one of `tops`"""
    portions: ClassVar[Mapping[str, tuple[Portion, ...]]]
    """by our split, in order"""
    options: ClassVar[Mapping[str, object]] = {"loader": str}
    """of the constructor; `loader` makes an image of a path, and here only the path is wanted"""
    by_name: ClassVar[bool] = False
    """whether classes are numbered as the lists have them, so that only the name says which of ours it is"""

    def listed(self, split: str, files: Published) -> Listing:
        """As `Downstream.listed`. Raises DatasetError for a list that torchvision cannot read or that leads elsewhere."""
        portions = self.portions[split]
        folder = self.top(files, portions[0].lists[0]) + portions[0].images
        return folder, [image for portion in portions for image in self._images(portion, files)]

    def samples(self, opened: Any) -> Iterable[tuple[Any, Any]]:
        """(path, number of its class) of each image of an instance of torchvision's class, in order."""
        return (opened[number] for number in range(len(opened)))

    def to_label(self, path: str, number: int, classes: Sequence[str], place: str) -> int:
        """Our label of an image below the images' folder, of which torchvision says the `number` of its class.

        `classes` are torchvision's names, `place` is where the lists lie. Raises DatasetError if it is no class of ours.
        """
        if self.by_name:
            return self.label(classes[number], place)
        if not 0 <= number < len(self.labels):
            raise DatasetError(f"{place}: image {shown(path)!r} has no class from 1 to {len(self.labels)}")
        return number

    def _images(self, portion: Portion, files: Published) -> list[tuple[str, int]]:
        lists = {name: self.top(files, name) + name for name in portion.lists}
        place = " or ".join(files.where(path) for path in lists.values())
        with TemporaryDirectory(prefix="robust-ft-bench-lists-") as name:
            root = Path(name)
            images = root / self.home / portion.images
            images.mkdir(parents=True)
            for inside, path in lists.items():
                copy = root / self.home / inside
                copy.parent.mkdir(parents=True, exist_ok=True)
                data = files.read(path)
                if path.endswith(".mat"):
                    check_mat(data, files.where(path))
                copy.write_bytes(data)
            classes, found = self._read(root, portion.split, place)
        listed = []
        for file, number in found:
            path = file.removeprefix(f"{images}/")
            if path == file or unsafe_name(path):
                raise DatasetError(f"{place}: image {shown(path)!r} leads outside the folder of images")
            listed.append((path, self.to_label(path, number, classes, place)))
        return listed

    def _read(self, root: Path, split: str, place: str) -> tuple[Sequence[str], list[tuple[str, int]]]:
        """torchvision's names of the classes, and (path, number of its class) of each image."""
        import torchvision.datasets  # here, because it loads torch, which no other dataset's listing needs

        reader = getattr(torchvision.datasets, self.reader)
        try:
            opened = reader(root, split, download=False, **self.options)
            return opened.classes, [(str(path), int(number)) for path, number in self.samples(opened)]
        except Exception as error:  # it parses without checks, so a bad list may lead it into any
            # Its second sentence is advice that does not hold here: to download, or to call it otherwise.
            reason = " ".join(str(error).replace(f"{root}/", "").split()).partition(". ")[0]
            what = f"{type(error).__name__}: {textwrap.shorten(shown(reason), _LONGEST_ERROR)}"
            raise DatasetError(
                f"{place}: torchvision's {self.reader} cannot read it ({what}); get it again from {self.info.source}"
            ) from None
