"""Reads the per-image outcomes of trials, `predictions.parquet` (see `orchestrator.trials.outcomes`). No ray, no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

COLUMNS = ("key", "label", "prediction", "confidence", "nll", "correct")
LATER = ("brier",)
"""Columns that files of earlier versions do not have."""


class PredictionsError(ValueError):
    """Per-image outcomes are missing, cannot be read, or do not belong together; the message says which and what to do."""


class ColumnsError(ValueError):
    """A file of outcomes has other columns than `orchestrator.trials.outcomes` writes; whoever read it says of which trial."""


def _is_text(type: pa.DataType) -> bool:
    value = type.value_type if pa.types.is_dictionary(type) else type
    return bool(pa.types.is_string(value) or pa.types.is_large_string(value))


KINDS: dict[str, tuple[str, Callable[[pa.DataType], bool]]] = {
    **dict.fromkeys(("variant", "domain", "split", "key"), ("text", _is_text)),
    **dict.fromkeys(("label", "prediction"), ("whole numbers", pa.types.is_integer)),
    **dict.fromkeys(("confidence", "nll", "brier"), ("numbers", pa.types.is_floating)),
    "correct": ("true or false", pa.types.is_boolean),
}
"""What each column holds."""


def check_columns(table: pa.Table, names: Sequence[str]) -> None:
    """Raises ColumnsError for a column that is missing, holds something else than it should, or has empty cells."""
    for name in names:
        if name not in table.column_names:
            raise ColumnsError(f"it has no column {name!r}")
        column, (kind, is_kind) = table.column(name), KINDS[name]
        if not is_kind(column.type):
            raise ColumnsError(f"its column {name!r} holds {column.type}, not {kind}")
        if column.null_count:
            raise ColumnsError(f"its column {name!r} has {column.null_count:,} empty cells")


@dataclass(frozen=True, slots=True)
class Predictions:
    """What one predictor said about the images of one split, in the order of the split."""

    keys: tuple[str, ...]
    labels: NDArray[np.int32]
    predictions: NDArray[np.int32]
    confidences: NDArray[np.float32]
    """probability of the prediction, in [0, 1]"""
    nlls: NDArray[np.float32]
    """negative log-likelihood of the label, nats"""
    correct: NDArray[np.bool_]
    briers: NDArray[np.float32] | None = None
    """Brier score over all classes, in [0, 2]; None in files of earlier versions"""


def read_predictions(path: Path, variant: str, domain: str, split: str = "test") -> Predictions:
    """The outcomes of a variant on a split of a domain.

    Raises PredictionsError for a file that is missing or damaged, or has no such outcomes.
    """
    chosen = (pc.field("variant") == variant) & (pc.field("domain") == domain) & (pc.field("split") == split)
    try:
        there = pq.read_schema(path).names
        columns = [*COLUMNS, *(name for name in LATER if name in there)]
        table = pq.read_table(path, columns=columns, filters=chosen)
        check_columns(table, columns)
    except FileNotFoundError:
        raise PredictionsError(f"{path} does not exist; without per-image outcomes there is nothing to pair") from None
    except (pa.ArrowException, OSError, ColumnsError) as error:
        raise PredictionsError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if not table.num_rows:
        raise PredictionsError(f"{path} has no outcomes of {variant or 'the model'} on {domain}/{split}")
    numbers = {name: table.column(name).to_numpy() for name in columns[1:]}
    return Predictions(
        keys=tuple(table.column("key").to_pylist()),
        labels=numbers["label"],
        predictions=numbers["prediction"],
        confidences=numbers["confidence"],
        nlls=numbers["nll"],
        correct=numbers["correct"],
        briers=numbers.get("brier"),
    )
