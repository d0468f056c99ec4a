"""Greedy ensemble: the mean of the outputs of those fine-tuned models that raise the accuracy on held-out images.

    logits:         z(x) = 1/|S| sum_{i in S} z_i(x)
    probabilities:  z(x) = log( 1/|S| sum_{i in S} softmax(z_i(x)) )
    S as for the greedy soup: models in descending order of accuracy, kept if acc(S + {i}) > acc(S), until |S| = max_size

Paper: Wortsman et al., ICML 2022, arXiv:2203.05482 (ensembles as the costly rival of soups); size limit 4: Nam et al.
(Lipsum-FT), ICLR 2024, arXiv:2404.00860. Reference code for the mean of logits:
mlfoundations/model-soups@b41026aac4be (branch `ensemble`) main.py, step 5, which takes all models, not a greedy choice.

Ours: logits by default, as in that branch (the paper of Lipsum-FT does not say which), and the
acceptance rule of the greedy soup. Accuracies are on the reference validation images, not on its test images.
Deviations: none in the mean.
Cost: no training; to evaluate, |S| forward passes and copies of the weights; to choose among N inputs, N passes over the
validation images and up to N - 1 with up to `max_size` models.
Logged: every accuracy and the chosen ids, in the trial's log.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from methods.base import PostHoc, PostHocInputs, Variant
from training.config import Frozen
from training.greedy import greedy
from training.model import ImageClassifier

log = logging.getLogger(__name__)

Average = Literal["logits", "probabilities"]


def combine(logits: Tensor, average: Average) -> Tensor:
    """Logits (B, K) of an ensemble from its members' (N, B, K): their mean, or log of the mean probability."""
    if average == "logits":
        return logits.mean(dim=0)
    return logits.log_softmax(dim=-1).logsumexp(dim=0) - math.log(len(logits))


class Ensemble:
    """A predictor made of several."""

    def __init__(self, members: Sequence[ImageClassifier], average: Average) -> None:
        self.members, self.average = tuple(members), average

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (B, K) of images (B, 3, H, W)."""
        return combine(torch.stack([member(images) for member in self.members]), self.average)

    def with_heads(self, head_for: Callable[[ImageClassifier], Tensor]) -> Ensemble:
        """The ensemble of the same members, each with the head that `head_for` makes for it."""
        return Ensemble([member.with_heads(head_for) for member in self.members], self.average)


class GreedyEnsemble(PostHoc):
    """One predictor for all inputs together."""

    title: ClassVar[str] = "Greedy ensemble"
    paper: ClassVar[str] = "Wortsman et al., ICML 2022, arXiv:2203.05482"
    many: ClassVar[bool] = True

    class Config(Frozen):
        """Settings; the size is that of the Lipsum-FT paper."""

        max_size: int = Field(4, ge=1, description="most models in the ensemble")
        average: Average = Field("logits", description="what is averaged over the models")

    def derive(self, inputs: PostHocInputs) -> Sequence[Variant]:
        """The ensemble of the chosen inputs."""

        def mix(chosen: Sequence[str]) -> Ensemble:
            return Ensemble([member(name) for name in chosen], self.config.average)

        def member(name: str) -> ImageClassifier:
            return inputs.combined(lambda _, tuned: tuned[name])

        def score(chosen: Sequence[str]) -> float:
            accuracy, _ = inputs.score(mix(chosen))
            log.info("%.4f on validation: %s", accuracy, " + ".join(chosen))
            return accuracy

        alone = {name: score((name,)) for name in inputs.finetuned}
        chosen = greedy(alone, score, limit=self.config.max_size)
        log.info("greedy ensemble of %d of %d: %s", len(chosen), len(inputs.finetuned), ", ".join(chosen))
        return [Variant(name="", predictor=mix(chosen), parameters={"num_ingredients": len(chosen)})]
