"""One of two gloo workers; importable, since a spawned process unpickles what it runs by name."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist

from datasets.shards import open_prepared
from tests.bench import RECIPE, Bench
from training.checkpoint import save_tensors
from training.model import load_clip
from training.runtime import Runtime

# Adam divides by the gradient's own size: where the true gradient is 0 (the keys' bias), rounding alone would decide the
# step. A larger epsilon keeps such parameters still, so that what is left to differ is the reduction over the workers.
STEADY = RECIPE.model_copy(update={"eps": 1e-3})


def train_as_rank(rank: int, store: str, config: str, data: str, names: list[str], out: str) -> None:
    """Train each method at half the global batch; rank 0 saves weights and trace."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    try:
        clip = load_clip("tiny_clip", "random:0", Path(config))
        bench = Bench(clip, open_prepared(data), Runtime(rank=rank, world_size=2))
        for name in names:
            result = bench.run(name, Path(out) / f"two-{name}", recipe=STEADY)
            if rank == 0:
                trace = [[score.step, score.accuracy, score.nll] for score in result.trace]
                save_tensors(Path(out) / f"{name}.safetensors", result.weights, {"trace": trace})
    finally:
        dist.destroy_process_group()
