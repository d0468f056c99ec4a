"""Values that papers have published, as they stand in `orchestrator/published/papers/`. No ray, no torch.

Every CSV file there has one line for each cell. Its first column says where: `table` of the file's own paper (that of
Nam et al., Lipsum-FT, arXiv:2404.00860), or `source` in a file of several papers. Accuracies in percent, calibration errors as
fractions, NLL in nats, as printed there.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "published" / "papers"
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

    Raises ValueError naming file and line of a value that is no number, or the columns that a file lacks.
    """
    found: dict[Key, tuple[Published, ...]] = {}
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            head = list(reader.fieldnames or ())
            place = "table" if "table" in head else "source"
            if lacking := [column for column in (place, *COLUMNS) if column not in head]:
                raise ValueError(f"{path}:1: lacks the columns {', '.join(lacking)}")
            for cells in reader:
                where = ("scenario", "reference", "backbone", "method")
                key: Key = (
                    cells[place],
                    *(cells[column] for column in where),
                    cells.get("variant", ""),
                    cells["dataset"],
                    cells["metric"],
                )  # type: ignore[assignment]  # eight strings
                try:
                    value = Published(float(cells["mean"]), float(cells["std"]) if cells.get("std") else None)
                except ValueError as error:
                    raise ValueError(f"{path}:{reader.line_num}: {error}") from None
                found[key] = (*found.get(key, ()), value)
    return found


def mean_of(values: list[Published]) -> Published:
    """One value as it is; of several the mean, whose s.d. the paper does not give."""
    return values[0] if len(values) == 1 else Published(sum(v.mean for v in values) / len(values), None)
