"""Values that papers have published, as they stand in `orchestrator/published/papers/`. No ray, no torch.

`lipsum_ft.csv` has the tables of Nam et al. (Lipsum-FT, arXiv:2404.00860), one line for each cell; `other.csv` values of other
papers with the place they were found in. Accuracies in percent, calibration errors as fractions, NLL in nats, as printed there.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "published" / "papers"
FILES = {"lipsum_ft.csv": "table", "other.csv": "source"}
"""file -> the column that says where a value stands"""

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

    Raises ValueError naming file and line of a value that is no number.
    """
    found: dict[Key, tuple[Published, ...]] = {}
    for name, place in FILES.items():
        path = folder / name
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
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
