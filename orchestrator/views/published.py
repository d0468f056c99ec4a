"""Values that papers have published, as they stand in `orchestrator/published/papers/`. No ray, no torch.

Every CSV file there has one line for each cell. Its first column says where: `table` of the file's own paper (that of
Nam et al., Lipsum-FT, arXiv:2404.00860), or `source` in a file of several papers. Accuracies in percent, calibration errors as
fractions, NLL in nats, as printed there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from orchestrator.facts import FactsError, rows

FOLDER = Path(__file__).parents[1] / "published" / "papers"
PLACES = ("table", "source")
COLUMNS = ("scenario", "reference", "backbone", "method", "dataset", "metric", "mean")
"""that a file must have; `variant` and `std` may be left out"""
Key = tuple[str, str, str, str, str, str, str, str]
"""table or source, scenario, reference, backbone, method, variant, dataset, metric"""


@dataclass(frozen=True, slots=True)
class Published:
    """One published value."""

    mean: float
    sd: float | None
    """over the paper's seeds; None: not stated, or a mean of ours over published cells"""


@lru_cache(maxsize=4)
def published(folder: Path = FOLDER) -> dict[Key, tuple[Published, ...]]:
    """All values; several under one key where a table prints the same row twice.

    Raises FactsError naming file and line of a value that is no number, or as `rows` does.
    """
    found: dict[Key, tuple[Published, ...]] = {}
    for path in sorted(folder.glob("*.csv")):
        for line, cells in rows(path, COLUMNS):
            place = next((cells[column] for column in PLACES if column in cells), None)
            if place is None:
                raise FactsError(f"{path}:1: lacks the column {' or '.join(PLACES)}")
            point = (
                cells["scenario"],
                cells["reference"],
                cells["backbone"],
                cells["method"],
                cells.get("variant", ""),
            )
            key: Key = (place, *point, cells["dataset"], cells["metric"])
            try:
                value = Published(_finite(cells["mean"]), _finite(cells["std"]) if cells.get("std") else None)
            except ValueError as error:
                raise FactsError(f"{line}: mean and std must be numbers: {error}") from None
            found[key] = (*found.get(key, ()), value)
    return found


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text!r} is not finite")
    return number


def mean_of(values: list[Published]) -> Published:
    """One value as it is; of several the mean, whose s.d. the paper does not give."""
    return values[0] if len(values) == 1 else Published(sum(v.mean for v in values) / len(values), None)
