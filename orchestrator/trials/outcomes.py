"""Per-image outcomes on disk: one Parquet file a trial, so that any metric or test can be computed later without a GPU.

Columns: variant, domain, split, key (strings), label, prediction (int32), confidence (probability of the prediction),
nll (nats), brier (of all classes, in [0, 2]) (float32), correct (bool). Files of earlier versions have no brier.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.evaluate import Outcomes

COMPRESSED = ("variant", "domain", "split", "key", "label", "prediction")
"""By dictionary and zstd; of other numbers hardly two are alike, so that files are smaller without, and read twice as fast."""


def write_predictions(path: Path, outcomes: Mapping[tuple[str, str, str], Outcomes]) -> None:
    """Write the outcomes of every (variant, domain, split), atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        pq.write_table(
            pa.concat_tables(_table(*place, outcome) for place, outcome in outcomes.items()),
            temporary,
            use_dictionary=list(COMPRESSED),
            compression=dict.fromkeys(COMPRESSED, "zstd"),
        )
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _table(variant: str, domain: str, split: str, outcome: Outcomes) -> pa.Table:
    count = len(outcome.labels)

    def repeated(value: str) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, dtype=np.int32)), pa.array([value]))

    return pa.table(
        {
            "variant": repeated(variant),
            "domain": repeated(domain),
            "split": repeated(split),
            "key": pa.array(outcome.keys),
            "label": outcome.labels.astype(np.int32),
            "prediction": outcome.predictions.astype(np.int32),
            "confidence": outcome.confidences,
            "nll": outcome.nlls,
            "brier": outcome.briers,
            "correct": outcome.predictions == outcome.labels,
        }
    ).unify_dictionaries()
