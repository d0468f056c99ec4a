"""FTP: fast trainable projection. Each tensor is projected after each step, by a radius learned from training gradients.

For each tensor, with theta~_t the optimiser's update, c_t = theta~_t - theta_0, and n(c) the sums of |c| over each row (all
axes but the first; a vector is one row) + 1e-8:

    h_t = sum < g_t , c_{t-1} / n(c_{t-1}) > ,  times k if positive          gradient of the loss in gamma
    gamma_t = Adam step from gamma_{t-1} with h_t, clipped to [1e-8, max n(c_t)] ;  gamma_1 = 1e-8
    theta_t = theta_0 + clamp(gamma_t / n(c_t), 0, 1) * c_t

So the first step returns to the start, and a radius grows while growing lowers the training loss. c_{t-1} is the offset
before its own projection.

Paper: Tian et al., NeurIPS 2023, arXiv:2310.19182. Reference code: GT-RIPL/FTP@1f8dd4458b85 util/FTP.py (AdamP): k 1,
Adam for gamma with lr 1e-2, betas 0.9 and 0.999, eps 1e-8, its count at 2 in its first step.

Deviations: (1) no optimiser of its own, it acts after Adam's or AdamW's step, weight decay included. (2) The projected
tensor is an interpolation that is exact at both ends, which changes last bits. (3) The head is projected unless
`project_head` is off: the reference excludes a new head, here it has zero-shot weights to start from. Its rows are those of
the tensor as stored (D, K): features, not classes.
Cost per step: no forward pass; two copies of the trained weights (the start and the last offsets, which also stand in
checkpoints).
Logged: loss, ce (the same number), ftp_ratio (mean over the tensors of the projection's ratio after the previous step).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from methods.base import Method
from training.config import Frozen
from training.model import ImageClassifier
from training.types import Batch, Losses, Phase, Task

_SMALLEST = 1e-8


def row_sums(tensor: Tensor) -> Tensor:
    """Sums over all axes but the first, kept as axes of length 1; of a vector, the sum of all."""
    return tensor.sum(dim=tuple(range(1, tensor.ndim)) if tensor.ndim > 1 else 0, keepdim=True)


def row_norms(offset: Tensor) -> Tensor:
    """n(c): L1 norms of the rows + 1e-8."""
    return row_sums(offset.abs()) + _SMALLEST


def radius_gradient(gradient: Tensor, offset: Tensor) -> Tensor:
    """h = sum over rows of < g_row , c_row > / n(c)_row, a scalar; `gradient` g and `offset` c have one shape."""
    return (row_sums(gradient * offset) / row_norms(offset)).sum()


def adam_step(
    radii: Tensor, gradients: Tensor, first: Tensor, second: Tensor, step: int, lr: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(radii, first moments, second moments) after an Adam step counted as `step`; all (n,)."""
    first = 0.9 * first + 0.1 * gradients
    second = 0.999 * second + 0.001 * gradients.square()
    means, squares = first / (1 - 0.9**step), second / (1 - 0.999**step)
    return radii - lr * means / (squares.sqrt() + 1e-8), first, second


class FTP(Method):
    """Fine-tuning with a projection after each step."""

    title: ClassVar[str] = "FTP"
    paper: ClassVar[str] = "Tian et al., NeurIPS 2023, arXiv:2310.19182"
    resumable: ClassVar[tuple[str, ...]] = ("radii", "first", "second", "offsets", "ratio")

    class Config(Frozen):
        """Settings; the defaults are the reference code's."""

        k: float = Field(1.0, ge=0, le=1, description="share of a radius' gradient kept where it shrinks; 1: strongest")
        radius_lr: float = Field(1e-2, gt=0, description="Adam's learning rate for the radii, in units of row norms")
        project_head: bool = Field(True, description="project the head as well")

    def setup(self, model: ImageClassifier, task: Task) -> Sequence[Phase]:
        """Keep the start; radii and offsets of what is projected."""
        self.start = {
            name: parameter.detach().clone()
            for name, parameter in model.named_parameters()
            if self.config.project_head or name != "head"
        }
        self.offsets = {name: torch.zeros_like(value) for name, value in self.start.items()}
        self.radii = torch.full((len(self.start),), _SMALLEST, device=model.head.device)
        self.first, self.second = torch.zeros_like(self.radii), torch.zeros_like(self.radii)
        self.ratio = torch.zeros((), device=model.head.device)
        return super().setup(model, task)

    def loss(self, model: ImageClassifier, batch: Batch) -> Losses:
        """Cross-entropy."""
        return {**super().loss(model, batch), "ftp_ratio": self.ratio.clone()}

    @torch.no_grad()
    def after_step(self, model: ImageClassifier, step: int) -> None:
        """Learn the radii, then project what the optimiser has just updated. Raises ValueError for a missing gradient."""
        parameters = dict(model.named_parameters())
        if step > 1:
            self._learn_radii(parameters, step)
        norms = {}
        for name, start in self.start.items():
            torch.sub(parameters[name], start, out=self.offsets[name])
            norms[name] = row_norms(self.offsets[name])
        if step > 1:
            largest = torch.stack([norm.max() for norm in norms.values()])
            self.radii.copy_(self.radii.clamp(min=_SMALLEST).minimum(largest))
        ratios = []
        for radius, (name, start) in zip(self.radii, self.start.items(), strict=True):
            ratio = F.hardtanh(radius / norms[name], 0.0, 1.0)
            parameters[name].copy_(torch.lerp(start, parameters[name], ratio))
            if parameters[name].requires_grad:
                ratios.append(ratio.mean())
        self.ratio.copy_(torch.stack(ratios).mean())

    def _learn_radii(self, parameters: dict[str, torch.nn.Parameter], step: int) -> None:
        slopes = []
        for name, offset in self.offsets.items():
            gradient = parameters[name].grad
            if not parameters[name].requires_grad:  # the recipe has frozen it: its offset stays 0
                slopes.append(self.radii.new_zeros(()))
            elif gradient is None:
                raise ValueError(f"FTP needs a gradient for every parameter that is trained; {name} has none")
            else:
                slopes.append(radius_gradient(gradient, offset))
        gradients = torch.stack(slopes)
        gradients = torch.where(gradients > 0, self.config.k * gradients, gradients)
        radii, first, second = adam_step(self.radii, gradients, self.first, self.second, step, self.config.radius_lr)
        self.radii.copy_(radii)
        self.first.copy_(first)
        self.second.copy_(second)
