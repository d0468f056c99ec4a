"""Exact search for the nearest features, and features of a pool of image-text pairs that are computed once and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor

from training.checkpoint import load_tensors, save_tensors
from training.runtime import Runtime

QUERIES, KEYS = 1024, 65_536
"""Rows compared at a time: 256 MiB of similarities."""


def nearest(queries: Tensor, keys: Tensor, k: int) -> Tensor:
    """Places (Q, min(k, N)) of the `k` keys of largest inner product with each query, best first; exact.

    Which of equally near keys is taken is left open, but the same each time on one machine.
    `queries` (Q, D) and `keys` (N, D) are normalised features, so that the inner product is the cosine. The keys may lie
    on another device than the queries; a block of them at a time is brought there.
    """
    found = []
    for start in range(0, len(queries), QUERIES):
        block = queries[start : start + QUERIES]
        best = block.new_empty(len(block), 0)
        places = torch.empty(len(block), 0, dtype=torch.int64, device=block.device)
        for first in range(0, len(keys), KEYS):
            part = block @ keys[first : first + KEYS].to(block.device).T
            here = torch.arange(first, first + part.shape[1], device=block.device).expand_as(part)
            best, order = torch.cat([best, part], dim=1).topk(min(k, best.shape[1] + part.shape[1]), dim=1)
            places = torch.cat([places, here], dim=1).gather(1, order)
        found.append(places)
    return torch.cat(found)


def kept(path: Path | None, runtime: Runtime, compute: Callable[[], Iterable[Tensor]]) -> Tensor:
    """The rows in the file at `path`, or else the rows of `compute` over all workers in order of rank, then kept there.

    `compute` gives this worker's rows (B, D) block by block. The workers agree on which of the two it is: it is computed
    unless all of them see a readable file. The file is replaced whole or not at all. None: nothing is kept.
    """
    rows = read_kept(path, runtime)
    return keep(path, runtime, compute()) if rows is None else rows


def read_kept(path: Path | None, runtime: Runtime) -> Tensor | None:
    """The rows in the file at `path` (N, D), on the CPU; None unless all workers can read it."""
    rows = _read(path)
    return rows if runtime.all_true(torch.tensor(rows is not None, device=runtime.device)) else None


def keep(path: Path | None, runtime: Runtime, parts: Iterable[Tensor]) -> Tensor:
    """Write the rows of all workers in order of rank to `path`, if there is one, and return them, on the CPU.

    `parts` are this worker's rows (B, D) block by block. The file is replaced whole or not at all.
    """
    blocks = [block.float().to(runtime.device) for block in parts]
    width = torch.tensor(float(blocks[0].shape[1] if blocks else 0), device=runtime.device)
    widest = int(runtime.all_gather(width[None]).max())  # a worker without a part does not know it
    rows = runtime.all_gather(torch.cat(blocks) if blocks else torch.empty(0, widest, device=runtime.device)).cpu()
    if path is not None and runtime.is_main:
        save_tensors(path, {"features": rows})
    return rows


def _read(path: Path | None) -> Tensor | None:
    if path is None:
        return None
    try:
        return load_tensors(path)[0].get("features")
    except (FileNotFoundError, ValueError):  # damaged: computed again
        return None
