"""The seam between the training loop and whatever runs it: a plain process, or a worker of a Ray Train group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather
from torch.nn.parallel import DistributedDataParallel


class Interrupted(Exception):  # noqa: N818 - no error of the trial's
    """Raised by `Runtime.report` where the trial is to stop: whoever runs it has gone, or wants no more of it."""


def _ignore(metrics: dict[str, float]) -> None:
    """The default `report`: nobody listens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Where a trial runs and as which of how many workers.

    With `world_size` > 1 the default process group of torch.distributed must be initialised (gloo on CPU, NCCL on GPUs).
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    rank: int = 0
    world_size: int = 1
    threads: int = 1
    """CPU threads for decoding images and, without a GPU, for the maths"""
    cache_gib: float = 0.0
    """limit of this machine's cache of decoded pixels, for all trials on it together; 0: none is used"""
    report: Callable[[dict[str, float]], None] = _ignore
    """called on rank 0 now and then with the trial's progress: step, num_steps, loss, images_per_second, ...; may raise
    Interrupted"""

    @property
    def is_main(self) -> bool:
        """Rank 0 alone writes files and reports."""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """This worker's contiguous part of `count` things, as `datasets.stream.EvalStream` deals images out."""
        return slice(round(self.rank * count / self.world_size), round((self.rank + 1) * count / self.world_size))

    def wrap(self, module: nn.Module) -> nn.Module:
        """`module` with gradients averaged over the workers; itself when there is one."""
        if self.world_size == 1:
            return module
        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=ids)

    def all_gather(self, tensor: Tensor) -> Tensor:
        """Concatenate tensors over the workers along the first axis, whose length may differ, in order of rank. No gradient."""
        if self.world_size == 1:
            return tensor
        sizes = [torch.zeros(1, dtype=torch.int64, device=tensor.device) for _ in range(self.world_size)]
        dist.all_gather(sizes, torch.tensor([len(tensor)], device=tensor.device))
        longest = int(max(size.item() for size in sizes))
        padded = tensor.new_zeros((longest, *tensor.shape[1:]))
        padded[: len(tensor)] = tensor
        gathered = [torch.empty_like(padded) for _ in range(self.world_size)]
        dist.all_gather(gathered, padded)
        return torch.cat([part[: int(size.item())] for part, size in zip(gathered, sizes, strict=True)])

    def gather_with_gradient(self, tensor: Tensor) -> Tensor:
        """Concatenate tensors of equal shapes over the workers along the first axis; gradients flow back to each part.

        Use it where a loss couples all images of the global batch (contrastive losses). DistributedDataParallel divides
        the summed gradients by the number of workers, so a loss that every worker computes whole keeps its scale.
        """
        if self.world_size == 1:
            return tensor
        return torch.cat(tuple(all_gather(tensor)))

    def broadcast(self, value: float) -> float:
        """Rank 0's `value` on every worker, for decisions that all must take alike."""
        if self.world_size == 1:
            return value
        tensor = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(tensor, src=0)
        return float(tensor.item())

    def all_true(self, flag: Tensor) -> bool:
        """Whether the boolean scalar `flag` is true on all workers: one that raised alone would leave the others waiting."""
        if self.world_size == 1:
            return bool(flag.item())
        everywhere = flag.detach().to(torch.int32)
        dist.all_reduce(everywhere, op=dist.ReduceOp.MIN)
        return bool(everywhere.item())

    def barrier(self) -> None:
        """Wait for all workers."""
        if self.world_size > 1:
            dist.barrier()
