"""Small datasets for tests: coloured squares."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from datasets.base import Dataset, DatasetInfo, RawSample

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
    """Yields COUNTS squares a split; `made` notes each split asked for."""

    def __init__(self, **changes: object) -> None:
        self.info = info(**changes)
        self.made: list[str] = []

    def samples(self, domain: str, split: str, source: Path | None = None) -> Iterator[RawSample]:
        self.made.append(f"{domain}/{split}")
        for index in range(COUNTS[domain][split]):
            yield self.sample(domain, split, index)

    def sample(self, domain: str, split: str, index: int) -> RawSample:
        caption = f"number {index}" if domain == "ink" else None
        return RawSample(f"{split}-{index:03d}", picture(index), "jpg", index % len(CLASSNAMES), caption)
