"""Model Stock: moves the mean of a few fine-tuned models towards the zero-shot model, tensor by tensor.

    d_i = theta_i - theta_0 ;  c = mean over i < j of cos(d_i, d_j) ;  t = N c / (1 + (N - 1) c)
    theta = t * mean_i theta_i + (1 - t) * theta_0            for each tensor of the weights, N >= 2 models

Where the models agree (c = 1) it is their mean, where they do not (c = 0) the zero-shot weights.

Paper: Jang et al., ECCV 2024, arXiv:2403.19522. The authors' repository has no code; the reference is
arcee-ai/mergekit@a6e402884ba9 mergekit/merge_methods/model_stock.py (filter_wise off), whose reading of "the angle" for
N > 2, the mean of the pairwise cosines, is taken over, and its reading of "a layer": each tensor by itself.

Deviations from that code: (1) c is at least 0: a negative t would step away from all models, and at c = -1 / (N - 1) t is
infinite. (2) Cosines in float64, without the floor of 1e-6 under the product of norms, which would pull tensors that
hardly moved to the zero-shot weights; a tensor that did not move at all in one of the models has c = 0. (3) Integer
buffers come from the first model.
Cost: no training; two seeds of a method are enough. It uses no validation image.
Logged: the ingredients' ids and the mean of t, in the trial's log.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from methods.base import PostHoc, PostHocInputs, Variant
from training.types import StateDict
from training.weights import average, check_alike

log = logging.getLogger(__name__)


def stock_ratio(start: Tensor, ends: Sequence[Tensor]) -> float:
    """t = N c / (1 + (N - 1) c) in [0, 1] of one tensor; `start` and the N >= 2 `ends` have one shape."""
    offsets = [(end.double() - start.double()).flatten() for end in ends]
    pairs = itertools.combinations([offset / offset.norm() if offset.any() else offset for offset in offsets], 2)
    cosine = float(torch.stack([(one @ other).clamp(-1, 1) for one, other in pairs]).mean().clamp(min=0))
    return len(ends) * cosine / (1 + (len(ends) - 1) * cosine)


def model_stock(start: StateDict, ends: Sequence[StateDict]) -> tuple[dict[str, Tensor], dict[str, float]]:
    """The merged weights, and t of each floating-point tensor. Raises ValueError for fewer than 2 or unlike weights."""
    if len(ends) < 2:
        raise ValueError(f"Model Stock needs at least 2 fine-tuned models, got {len(ends)}; give it more seeds")
    check_alike([start, *ends])
    merged = average(ends)
    ratios = {}
    for name, mean in merged.items():
        if mean.is_floating_point():
            ratios[name] = stock_ratio(start[name], [end[name] for end in ends])
            merged[name] = ratios[name] * mean + (1 - ratios[name]) * start[name]
    return merged, ratios


class ModelStock(PostHoc):
    """One predictor for all inputs together."""

    title: ClassVar[str] = "Model Stock"
    paper: ClassVar[str] = "Jang et al., ECCV 2024, arXiv:2403.19522"
    many: ClassVar[bool] = True
    fewest: ClassVar[int] = 2

    def derive(self, inputs: PostHocInputs) -> Sequence[Variant]:
        """The merged classifier. Raises ValueError for fewer than two inputs."""
        merged, ratios = model_stock(inputs.zero_shot, list(inputs.finetuned.values()))
        mean = sum(ratios.values()) / len(ratios)
        log.info("model stock of %s: t is %.4f in the mean", ", ".join(inputs.finetuned), mean)
        parameters = {"num_ingredients": len(inputs.finetuned), "mean_ratio": mean}
        classifier = inputs.build(merged)
        if inputs.texts:
            classifier.with_text(model_stock(inputs.zero_shot_text, list(inputs.texts.values()))[0])
        return [Variant(name="", predictor=classifier, parameters=parameters)]
