"""SPD: selective projection decay. Tensors whose gradient points back towards the start are held where they were.

For each tensor, with theta~ the optimiser's update of theta and g the gradient it used:

    if  < g , theta - theta_0 > > 0 :        descent leads back, yet momentum may carry on
        r = clamp( (||theta~ - theta_0|| - ||theta - theta_0||) / ||theta~ - theta_0|| , 0 , 1 )
        theta <- theta~ - strength * r * (theta~ - theta_0)
    else  theta <- theta~

At strength 1 such a tensor is projected onto the sphere on which it stood before the step; strength 0 is FT.

Paper: Tian, Huang, Kira, NeurIPS 2024, arXiv:2411.01713. Reference code: GT-RIPL/Selective-Projection-Decay@b37769554267
adamSPD.py, where the strength is passed as `weight_decay`.

Deviations: none in the update. It is no optimiser of its own but acts after Adam's or AdamW's step. As in the reference
there is no other weight decay: the recipe's is not used. The head has zero-shot weights to start from, so it takes part
like every tensor.
Ours, calibrate against published targets: strength 1, which undoes the step's growth of the distance as a whole; the
reference code's default, 0, switches SPD off.
Cost per step: no forward pass; two copies of the trained weights (the start, and those before the step).
Logged: loss, ce (the same number), spd_share (share of the tensors held back after the previous step).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Method
from training.config import Frozen
from training.model import ImageClassifier
from training.types import Batch, Losses, Phase, Task


def selective_projection(
    updated: Tensor, previous: Tensor, start: Tensor, gradient: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    """The tensor after the projection, and whether it was held back (boolean scalar).

    All tensors have one shape: `updated` and `previous` after and before the optimiser's step, `start` at the beginning of
    training, `gradient` that of the step. Formula in the module's docstring.
    """
    offset = updated - start
    returning = (gradient * (previous - start)).sum() > 0
    now, before = offset.norm(), (previous - start).norm()
    ratio = ((now - before) / now).clamp(0, 1)
    pull = torch.where(returning, strength * ratio, torch.zeros_like(ratio))
    return updated - pull * offset, pull > 0


class SPD(Method):
    """Fine-tuning with a projection after each step."""

    title: ClassVar[str] = "SPD"
    paper: ClassVar[str] = "Tian et al., NeurIPS 2024, arXiv:2411.01713"
    resumable: ClassVar[tuple[str, ...]] = ("share",)

    class Config(Frozen):
        """Settings."""

        strength: float = Field(
            1.0, ge=0, description="share of the step's growth that is undone; 0: plain fine-tuning"
        )

    def setup(self, model: ImageClassifier, task: Task) -> Sequence[Phase]:
        """Keep the start. Weights before a step are copied when its loss is asked for, so they need no checkpoint."""
        self.start = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        self.previous = {name: value.clone() for name, value in self.start.items()}
        self.share = torch.zeros((), device=model.head.device)
        return [replace(phase, weight_decay=0.0) for phase in super().setup(model, task)]

    def loss(self, model: ImageClassifier, batch: Batch) -> Losses:
        """Cross-entropy; the weights are remembered for `after_step`."""
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                self.previous[name].copy_(parameter)
        return {**super().loss(model, batch), "spd_share": self.share.clone()}

    @torch.no_grad()
    def after_step(self, model: ImageClassifier, step: int) -> None:
        """Project what the optimiser has just updated."""
        held = []
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                projected, was_held = selective_projection(
                    parameter, self.previous[name], self.start[name], parameter.grad, self.config.strength
                )
                parameter.copy_(projected)
                held.append(was_held)
        self.share.copy_(torch.stack(held).float().mean())
