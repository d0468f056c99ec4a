"""Facts of the generated datasets that scripts here measure with."""

from __future__ import annotations

from datasets.base import DatasetInfo


def generated_info(name: str, count: int) -> DatasetInfo:
    """One domain, one class, `count` training images."""
    return DatasetInfo(
        name=name,
        title=name.capitalize(),
        revision="1",
        domains=("all",),
        classnames=("thing",),
        templates=("a {}.",),
        source="generated",
        license="none",
        citation="none",
        counts={"all": {"train": count}},
    )
