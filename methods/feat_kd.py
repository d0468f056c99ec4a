"""FeatKD: fine-tuning with a penalty on the change of the image features.

    L = CE + strength * mean_x || F_theta(x) - F_theta0(x) ||^2       F: normalised features

Paper: a baseline of Nam et al. (Lipsum-FT), ICLR 2024, arXiv:2404.00860 (ImageNet only). No public code of it.

Deviations:
1. The paper's strength is not in what could be read of it. The default 10 is ours, calibrate against published targets
   (ImageNet OOD 59.6): with texts spread evenly over all D = 512 directions, Lipsum-FT's penalty is s^2 / (2 D), about 10,
   times this one.

Cost per step: a second image forward pass without gradient; memory: a frozen copy of the model.
Logged: loss, ce, feat_kd (the penalty before `strength`).
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


def squared_distortion(features: Tensor, reference: Tensor) -> Tensor:
    """mean_x || features_x - reference_x ||^2, a scalar; both (B, D), normalised image features now and before."""
    return (features - reference).square().sum(dim=1).mean()


class FeatKD(Method):
    """Fine-tuning that holds the image features; `strength` 0 is FT."""

    title: ClassVar[str] = "FeatKD"
    paper: ClassVar[str] = "Nam et al., ICLR 2024, arXiv:2404.00860 (baseline)"

    class Config(Frozen):
        """Settings; the default is ours, the paper's is lost."""

        strength: float = Field(
            10.0, ge=0, allow_inf_nan=False, description="weight of the penalty; 0: plain fine-tuning"
        )

    def setup(self, model: ImageClassifier, task: Task) -> Sequence[Phase]:
        """Keep the image encoder as it is now."""
        self.reference = copy.deepcopy(model).eval().requires_grad_(False)
        return super().setup(model, task)

    def loss(self, model: ImageClassifier, batch: Batch) -> Losses:
        """Cross-entropy and penalty from one forward pass of the trained encoder and one of the frozen one."""
        features = model.encode_image(batch.images)
        ce = self.cross_entropy(model.logits(features), batch.labels)
        with torch.no_grad():
            reference = self.reference.encode_image(batch.images)
        penalty = squared_distortion(features, reference)
        return {"loss": ce + self.config.strength * penalty, "ce": ce.detach(), "feat_kd": penalty.detach()}
