"""L2-SP: fine-tuning with a penalty on the squared distance of the weights to the start.

    L = CE + strength * 1/2 || Theta - Theta_0 ||^2       Theta: every trained parameter, head included

Paper: Li, Grandvalet, Davoine, ICML 2018, arXiv:1802.01483 (alpha/2 || w - w_0 ||^2); a baseline of Nam et al. (Lipsum-FT),
ICLR 2024, arXiv:2404.00860, whose Eq. 11 is not in what could be read of it.
Reference code: omegafragger/ldifs_code@c7e82a4990f2 loss/l2_sp.py `SPRegularization`.

Deviations:
1. The reference has alpha || w - w_0 ||^2 without the half and leaves the head free: alpha = strength / 2. Here the head, which
   starts at zero-shot weights as good as the encoder's, is held too. Ours, since the paper's choice is lost.
2. The default strength 0.1 is ours, calibrate against published targets (DomainNet OOD +0.75 over FT): it makes the pull on a
   weight a fraction of the size of its cross-entropy gradient. The reference's alpha 0.5 is strength 1.

With Adam the penalty's gradient is rescaled with that of the loss; it is not a decoupled decay.
Cost per step: one pass over the weights; memory: one copy of them. Logged: loss, ce, l2sp (the penalty before `strength`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Method
from training.config import Frozen
from training.model import ImageClassifier
from training.types import Batch, Losses, Phase, Task


def half_squared_distance(weights: Iterable[Tensor], start: Iterable[Tensor]) -> Tensor:
    """1/2 sum_i || weights_i - start_i ||^2, a scalar; the two run over tensors of equal shapes in equal order."""
    return 0.5 * torch.stack([(w - w0).square().sum() for w, w0 in zip(weights, start, strict=True)]).sum()


class L2SP(Method):
    """Fine-tuning held at its starting point; `strength` 0 is FT."""

    title: ClassVar[str] = "L2SP"
    paper: ClassVar[str] = "Li et al., ICML 2018, arXiv:1802.01483"

    class Config(Frozen):
        """Settings; the default is ours, the paper's is lost."""

        strength: float = Field(
            0.1, ge=0, allow_inf_nan=False, description="weight of the penalty; 0: plain fine-tuning"
        )

    def setup(self, model: ImageClassifier, task: Task) -> Sequence[Phase]:
        """Keep a copy of what is trained."""
        phases = super().setup(model, task)
        trained = {name for phase in phases for name in phase.trained}
        self.start = {name: p.detach().clone() for name, p in model.named_parameters() if name in trained}
        return phases

    def loss(self, model: ImageClassifier, batch: Batch) -> Losses:
        """Cross-entropy and penalty."""
        losses = super().loss(model, batch)
        weights = dict(model.named_parameters())
        penalty = half_squared_distance((weights[name] for name in self.start), self.start.values())
        return {**losses, "loss": losses["loss"] + self.config.strength * penalty, "l2sp": penalty.detach()}
