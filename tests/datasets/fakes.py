"""Small datasets for tests: coloured squares."""

from __future__ import annotations

import io

from PIL import Image

from datasets.base import Dataset, DatasetInfo, Entry, Published

CLASSNAMES = ("circle", "square", "star")
COUNTS = {"ink": {"train": 7, "test": 4}, "oil": {"train": 5, "test": 3}}


def picture(number: int, size: tuple[int, int] = (24, 16), form: str = "JPEG") -> bytes:
    """An encoded picture of one colour that depends on `number`."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (number * 37 % 256, number * 91 % 256, number * 53 % 256)).save(buffer, form)
    return buffer.getvalue()


def info(**changes: object) -> DatasetInfo:
    """Facts of the fake dataset, with changes."""
    facts = {
        "name": "fake",
        "title": "Squares",
        "revision": "1",
        "domains": tuple(COUNTS),
        "classnames": CLASSNAMES,
        "templates": ("a {}.",),
        "source": "tests",
        "license": "none",
        "citation": "none",
        "counts": COUNTS,
    }
    return DatasetInfo(**(facts | changes))  # type: ignore[arg-type]


class Fake(Dataset):
    """COUNTS squares a split; `made` notes the path of each image that is read, '<domain>/<split>/<index>'."""

    def __init__(self, **changes: object) -> None:
        self.info = info(**changes)
        self.made: list[str] = []

    def entries(self, domain: str, split: str, source: Published | None = None) -> list[Entry]:
        return [self.entry(domain, split, index) for index in range(COUNTS[domain][split])]

    def entry(self, domain: str, split: str, index: int) -> Entry:
        caption = f"number {index}" if domain == "ink" else None
        label = index % len(CLASSNAMES)
        return Entry(f"{split}-{index:03d}", label, f"{domain}/{split}/{index}", len(picture(index)), caption)

    def read(self, entry: Entry, source: Published | None = None) -> tuple[bytes, str]:
        self.made.append(entry.path)
        return picture(int(entry.path.rpartition("/")[2])), "jpg"


INK_CARD = """\
kind: folder
name: mine
title: Mine
revision: "1"
domains: [ink]
classnames: [cat, dog]
templates: ["a photo of a {}."]
source: my disk
license: mine
citation: none
"""
"""A card of images below ink/cat and ink/dog; how they are divided is left to be said."""
