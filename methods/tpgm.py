"""TPGM: projects each fine-tuned tensor back towards the zero-shot weights, by a radius learned on held-out images.

    theta~_i = theta_0,i + r_i (theta_i - theta_0,i) ,  r_i = clamp(gamma_i / (||theta_i - theta_0,i||_2 + 1e-8), 0, 1)
    min over gamma of  E_{(x, y) ~ validation} CE(x, y; theta~(gamma))      one gamma_i for each tensor, head included

Paper: Tian et al., CVPR 2023, arXiv:2303.10720. Reference code: PotatoTian/TPGM@8d18db067dd3
ImageNet_ViT_Exp/utils/tpgm.py (`norm_mode` l2, nothing excluded): Adam with lr 1e-2 on gamma, 200 iterations, batches of
64, gamma started at half the distance, model in eval mode, one projection of the finished model.

In float32 a radius at its bound has ratio 1, gradient exactly 0 and stays there, unless the distance is below about
0.25: so it is in the reference. The learning rate is absolute while distances differ by orders of magnitude:
small tensors reach a bound within a few iterations, large ones stay near the half.

Deviations: (1) the projected tensor is an interpolation that is exact at both ends; the reference adds
r_i * difference to the start, which changes last bits. (2) Tensors that did not move have no radius. (3) Floating-point
buffers have one too: the logit scale, where a method has trained it; running statistics of batch norm get no gradient and
stay half-way. (4) The validation batches come in the order that `inputs.val` gives, the same in each pass; the reference
shuffles anew. (5) Radii are learned for the classifier alone: where the input has tuned its text tower, the result has none
and is not measured on datasets whose head would be made of it.
Cost: `iterations` forward and backward passes through the model on `batch_size` images; three copies of the weights.
Logged: the mean of r_i, in the trial's log.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from methods.base import PostHoc, PostHocInputs, Variant
from training.config import Frozen
from training.projection import learn_projection

log = logging.getLogger(__name__)


class TPGM(PostHoc):
    """One projected classifier for each input."""

    title: ClassVar[str] = "TPGM"
    paper: ClassVar[str] = "Tian et al., CVPR 2023, arXiv:2303.10720"

    class Config(Frozen):
        """Settings; the defaults are the reference code's."""

        iterations: int = Field(200, ge=0, description="Adam steps on the radii; 0: every tensor half-way")
        lr: float = Field(1e-2, gt=0, description="Adam's learning rate for the radii, in units of distance")
        batch_size: int = Field(64, ge=1, description="validation images an iteration")

    def derive(self, inputs: PostHocInputs) -> Sequence[Variant]:
        """The projected classifier."""
        (finetuned,) = inputs.finetuned.values()
        weights, mean = learn_projection(
            inputs.build(inputs.zero_shot),
            inputs.zero_shot,
            finetuned,
            lambda: inputs.val(self.config.batch_size),
            iterations=self.config.iterations,
            lr=self.config.lr,
        )
        log.info("tensors keep %.4f of their distance in the mean", mean)
        return [Variant(name="", predictor=inputs.build(weights), parameters={"mean_ratio": mean})]
