"""Lipsum-FT: keeps the energies between images and random texts as they were before fine-tuning.

    v_m(x; theta) = s * < F_theta(x), G(t_m) > ,  m = 1..M      random texts t_m, fresh each step
    L = CE + strength * mean_x 1/(2M) sum_m (v_m(x; theta) - v_m(x; theta_0))^2

With `num_texts: inf` the mean over the texts is its expectation (ours):

    L = CE + strength * mean_x (s^2 / 2) d^T E[G G^T] d ,  d = F_theta(x) - F_theta_0(x)

E[G G^T] is one D x D matrix, estimated once from 20,000 random texts; no text is encoded in a step.

Paper: Nam et al., ICLR 2024, arXiv:2404.00860, Eq. 7. Reference code: cs-giung/lipsum-ft@1331873d21a4
scripts/Lipsum-FT.py `loss_fn` (`feat_regularization` 1.0, M = 80 texts of L = 8 tokens).

The logit scale s (about 100) stands inside the square: without it the term is s^2 times smaller and the method is FT.
A text is L token ids, uniform over the vocabulary without start and end; all workers draw the same texts.

Deviations: none in the loss. The texts come from torch's generator, not JAX's.
Cost per step: a second image forward pass without gradient, a text forward pass over M sequences of L + 2 tokens, and a
frozen copy of the image encoder in memory. With `num_texts: inf` no text forward pass: two (B, D) x (D, D) products less
than M texts cost, after 20,000 texts once in a process.
Logged: loss, ce, lipsum (the penalty before `strength`).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Method
from training.config import Frozen
from training.model import ImageClassifier
from training.penalties import energy_gap, expected_energy_gap, text_moment
from training.types import Batch, Losses, Phase, Task

MOMENT_TEXTS = 20_000
"""Random texts from which E[G G^T] is estimated: its relative error is about 1 %."""


class LipsumFT(Method):
    """Fine-tuning with the random-text penalty; `strength` 0 is FT."""

    title: ClassVar[str] = "Lipsum-FT"
    paper: ClassVar[str] = "Nam et al., ICLR 2024, arXiv:2404.00860"
    resumable: ClassVar[tuple[str, ...]] = ("generator",)

    class Config(Frozen):
        """Settings; the defaults are the paper's."""

        strength: float = Field(1.0, ge=0, description="weight of the penalty; 0: plain fine-tuning")
        num_texts: Annotated[int, Field(ge=1)] | Literal["inf"] = Field(
            80, description="M, random texts a step; inf: the expectation over all texts, without a text in a step"
        )
        token_length: int = Field(8, ge=1, description="L, random tokens of a text, start and end not counted")

    def setup(self, model: ImageClassifier, task: Task) -> Sequence[Phase]:
        """Keep the image encoder as it is now, and seed the texts from the trial's seed, alike on every worker."""
        self.text = task.text
        self.reference = copy.deepcopy(model).eval().requires_grad_(False)
        self.generator = torch.Generator().manual_seed(task.seed)
        self.text.random_tokens(
            1, self.config.token_length, torch.Generator()
        )  # too long a text fails here, not at step 1
        if self.config.num_texts == "inf":
            self.moment = text_moment(self.text, self.config.token_length, MOMENT_TEXTS)
        return super().setup(model, task)

    def loss(self, model: ImageClassifier, batch: Batch) -> Losses:
        """Cross-entropy and penalty from one forward pass of the trained encoder and one of the frozen one."""
        features = model.encode_image(batch.images)
        ce = self.cross_entropy(model.logits(features), batch.labels)
        with torch.no_grad():
            reference = self.reference.encode_image(batch.images)
            texts = None if self.config.num_texts == "inf" else self._texts()
        with torch.autocast(features.device.type, enabled=False):
            scale = float(model.logit_scale)
            if texts is None:
                penalty = expected_energy_gap(features, reference, self.moment, scale)
            else:
                penalty = energy_gap(features, reference, texts, scale)
        return {"loss": ce + self.config.strength * penalty, "ce": ce.detach(), "lipsum": penalty.detach()}

    def _texts(self) -> Tensor:
        """Features (M, D) of fresh random texts."""
        tokens = self.text.random_tokens(self.config.num_texts, self.config.token_length, self.generator)
        return self.text.encode(tokens)
