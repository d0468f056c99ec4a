"""KD: fine-tuning distilled from the zero-shot classifier, so that its predictions stay near the zero-shot ones.

    p_tau(x; Theta) = softmax(logits(x; Theta) / tau)
    L = CE + strength * tau^2 mean_x [ - sum_k p_tau(x; Theta_0)_k log p_tau(x; Theta)_k ]

The teacher is encoder and head before fine-tuning; the student's head is trained. The term differs from tau^2 KL(teacher ||
student) by the teacher's entropy, a constant: the gradient is the same.

Paper: Hinton, Vinyals, Dean, 2015, arXiv:1503.02531; a baseline of Nam et al. (Lipsum-FT), ICLR 2024, arXiv:2404.00860. No
public code of it.

Deviations:
1. The paper's strength is not in what could be read of it. The default 1.0 is ours, calibrate against published targets
   (DomainNet OOD 56.3, reference ECE 0.006).
2. `temperature` other than the paper's 1, and with it tau^2, is Hinton's.

Cost per step: a second image forward pass without gradient; memory: a frozen copy of the model.
Logged: loss, ce, kd (the term before `strength`), kl (the term less the teacher's entropy: 0 at the start).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Method
from training.config import Frozen
from training.model import ImageClassifier
from training.types import Batch, Losses, Phase, Task


def distillation(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """tau^2 mean_x [ - sum_k softmax(teacher / tau)_k log softmax(logits / tau)_k ], a scalar >= 0.

    `logits`, `teacher`: (B, K); `temperature`: tau > 0. Computed in the dtype of `logits`.
    """
    target = torch.softmax(teacher / temperature, dim=-1)
    return -(temperature**2) * (target * torch.log_softmax(logits / temperature, dim=-1)).sum(dim=-1).mean()


class KD(Method):
    """Fine-tuning with the zero-shot classifier as teacher; `strength` 0 is FT."""

    title: ClassVar[str] = "KD"
    paper: ClassVar[str] = "Hinton et al., 2015, arXiv:1503.02531"

    class Config(Frozen):
        """Settings; the default strength is ours, the paper's is lost."""

        strength: float = Field(
            1.0, ge=0, allow_inf_nan=False, description="weight of the distillation term; 0: plain fine-tuning"
        )
        temperature: float = Field(1.0, gt=0, allow_inf_nan=False, description="tau, divides both models' logits")

    def setup(self, model: ImageClassifier, task: Task) -> Sequence[Phase]:
        """Keep the classifier as it is now."""
        self.teacher = copy.deepcopy(model).eval().requires_grad_(False)
        return super().setup(model, task)

    def loss(self, model: ImageClassifier, batch: Batch) -> Losses:
        """Cross-entropy and distillation from one forward pass of student and teacher each."""
        logits = model(batch.images)
        ce = self.cross_entropy(logits, batch.labels)
        with torch.no_grad():
            teacher = self.teacher(batch.images)
        with torch.autocast(logits.device.type, enabled=False):
            kd = distillation(logits, teacher, self.config.temperature)
            kl = kd.detach() - distillation(teacher, teacher, self.config.temperature)
        return {"loss": ce + self.config.strength * kd, "ce": ce.detach(), "kd": kd.detach(), "kl": kl}
