"""Embeddings that were computed before, in a folder's results/cache/tsne, by a hash of what goes into them. No ray, no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orchestrator.records import write_atomic

CACHE = Path("cache") / "tsne"
"""Below a folder of results; it may be deleted at any time."""

Floats = NDArray[np.float64]


def kept(
    folder: Path, points: Floats, settings: Mapping[str, float | str], compute: Callable[[Floats], Floats]
) -> Floats:
    """`compute(points)` (n, 2) of points (n, D), from `folder` if the same was computed under the same settings before.

    A file that is damaged is computed again and replaced.
    """
    rows = np.ascontiguousarray(points, "<f8")
    head = json.dumps([dict(settings), rows.shape], sort_keys=True)
    path = folder / f"{hashlib.sha256(head.encode() + rows.tobytes()).hexdigest()[:32]}.json"
    if (found := _read(path, len(rows))) is not None:
        return found
    placed = compute(points)
    # Python writes a float so that it is read as the same one.
    write_atomic(path, json.dumps({"sha256": _digest(placed), "points": placed.tolist()}) + "\n")
    return placed


def _read(path: Path, count: int) -> Floats | None:
    """What a file holds; None without one, or if it is not what was written."""
    try:
        content = json.loads(path.read_bytes())
        placed = np.array(content["points"], np.float64)
        whole = placed.shape == (count, 2) and content["sha256"] == _digest(placed)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError):
        return None
    return placed if whole else None


def _digest(placed: Floats) -> str:
    return hashlib.sha256(np.ascontiguousarray(placed, "<f8").tobytes()).hexdigest()
