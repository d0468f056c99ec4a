"""EMA: fine-tuning that is evaluated at the exponential moving average of its weights.

    shadow_0 = Theta_0 ;  shadow_t = d * shadow_{t-1} + (1 - d) * Theta_t      after each optimiser step, head included

No bias correction: the zero-shot weights keep the share d^T of the result after T steps. Selection, evaluation and the
saved model use the shadow. d = 0 is FT.

Paper: a baseline of Nam et al. (Lipsum-FT), ICLR 2024, arXiv:2404.00860. No public code of it.

Deviations:
1. The decays of the paper (one for DomainNet, one for ImageNet) are not in what could be read of it. The default 0.9995 is
   ours, calibrate against published targets: a horizon of 2000 of the 5000 steps of DomainNet.
2. Buffers, where the encoder has any that move (BatchNorm), are copied, not averaged.

torch's `AveragedModel` copies the first model it is updated with, so it starts at Theta_1; here the shadow starts at Theta_0.
Cost per step: one pass over the weights; memory: one copy of them. Logged: loss, ce.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Method
from training.config import Frozen
from training.model import ImageClassifier
from training.types import Phase, Task


@torch.no_grad()
def average_into(shadow: Iterable[Tensor], current: Iterable[Tensor], decay: float) -> None:
    """shadow <- decay * shadow + (1 - decay) * current, in place, tensor by tensor; exactly `current` at decay 0.

    Computed as shadow + (1 - decay) * (current - shadow), which rounds the small difference and not the two large terms.
    """
    torch._foreach_lerp_(list(shadow), list(current), 1 - decay)


class EMA(Method):
    """FT with a moving average of the weights; `decay` 0 is FT."""

    title: ClassVar[str] = "EMA"
    paper: ClassVar[str] = "Nam et al., ICLR 2024, arXiv:2404.00860 (baseline)"
    resumable: ClassVar[tuple[str, ...]] = ("shadow",)

    class Config(Frozen):
        """Settings; the default is ours, the paper's is lost."""

        decay: float = Field(0.9995, ge=0, lt=1, description="share of the average that a step keeps; 0: plain FT")

    def setup(self, model: ImageClassifier, task: Task) -> Sequence[Phase]:
        """The shadow starts as a copy of the zero-shot model."""
        self.shadow = copy.deepcopy(model).eval().requires_grad_(False)
        return super().setup(model, task)

    def after_step(self, model: ImageClassifier, step: int) -> None:
        """Move the shadow towards the weights."""
        average_into(self.shadow.parameters(), model.parameters(), self.config.decay)
        for kept, current in zip(self.shadow.buffers(), model.buffers(), strict=True):
            kept.copy_(current)

    def export(self, model: ImageClassifier) -> ImageClassifier:
        """The shadow."""
        return self.shadow
