"""CAR-FT: keeps the distribution over contexts that CLIP sees in an image as it was before fine-tuning.

    v_m(x; theta) = s * < F_theta(x), t_m > ,  m = 1..M
    t_m = mean_c G(template_m(class_c)), normalised          text: context      (M = number of templates)
    t_m = G(random tokens), fresh each step                  text: random

The templates are the dataset's. Where it has one alone (CUB, PACS) they are CLIP's 80 for ImageNet, as one context has no
distribution; the head stays that of its own template.

    L = CE + strength * mean_x tau^2 KL( softmax(v0 / tau) || softmax(v / tau) )        loss: kld
    L = CE + strength * mean_x 1/(2M) sum_m (v_m - v0_m)^2                              loss: mse

The four cells of loss and text are the ablation of the Lipsum-FT paper (Tables 3 and 9):

    kld, context   CAR-FT            mse, context   CAR-FT_MSE
    kld, random    Lipsum-FT_KLD     mse, random    Lipsum-FT

Paper: Mao et al., IJCV 2024, arXiv:2211.16175; as re-implemented by Nam et al., ICLR 2024, arXiv:2404.00860, Eq. 20.
Reference code: none is public. Contexts: cs-giung/lipsum-ft@1331873d21a4 scripts/setup.py (`ctx`).

Ours, calibrate against published targets: strength 1 and temperature 1 (both papers' values are lost), s inside the
softmax, the direction KL(before || after).
Deviations: (1) the divergence stands for Eq. 20's cross-entropy, from which it differs by a constant without gradient.
Cost per step: a second image forward pass without gradient and a frozen copy of the image encoder in memory; with random
text a text forward pass over M sequences besides, with contexts the templates times the classes once at the start.
Logged: loss, ce, car (the penalty before `strength`).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from methods.base import Method
from training.config import Frozen
from training.model import ImageClassifier, TextEncoder
from training.penalties import energy_gap, energy_kld
from training.types import Batch, Losses, Phase, Task


def contexts(text: TextEncoder, classnames: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Context features (M, D), float32: ctx[m] = mean_c G(template_m(class_c)) / ||.||, one row for each template.

    Source: cs-giung/lipsum-ft@1331873d21a4 scripts/setup.py (`ctx`, there (D, M)).
    """
    rows = [text.encode(text.tokenizer([template.format(name) for name in classnames])) for template in templates]
    return F.normalize(torch.stack([row.mean(dim=0) for row in rows]), dim=-1)


class CARFT(Method):
    """Fine-tuning with a penalty on the change of context or random-text energies; `strength` 0 is FT."""

    title: ClassVar[str] = "CAR-FT"
    paper: ClassVar[str] = "Mao et al., IJCV 2024, arXiv:2211.16175"
    version: ClassVar[int] = 2
    resumable: ClassVar[tuple[str, ...]] = ("generator",)

    class Config(Frozen):
        """Settings."""

        strength: float = Field(
            1.0,
            ge=0,
            description="weight of the penalty; 0: plain fine-tuning (ours, calibrate against published targets)",
        )
        loss: Literal["kld", "mse"] = Field(
            "kld", description="divergence of softmaxes, or squared difference of energies"
        )
        text: Literal["context", "random"] = Field("context", description="one context per template, or random texts")
        temperature: float = Field(1.0, gt=0, description="tau of the softmaxes; with loss: kld only (ours)")
        num_texts: int = Field(80, ge=1, description="M, random texts a step; with text: random only")
        token_length: int = Field(8, ge=1, description="L, random tokens of a text; with text: random only")

        @model_validator(mode="after")
        def _settings_have_an_effect(self) -> Self:
            """One trial would otherwise run under several names."""
            if self.text == "context" and (self.num_texts, self.token_length) != (80, 8):
                raise ValueError("num_texts and token_length have no effect with text: context; leave them out")
            if self.loss == "mse" and self.temperature != 1.0:
                raise ValueError("temperature has no effect with loss: mse; leave it out")
            if self.loss == "kld" and self.num_texts == 1:
                raise ValueError(
                    "num_texts: 1 with loss: kld is a softmax over one text, which is always 1; use 2 or more"
                )
            return self

    def setup(self, model: ImageClassifier, task: Task) -> Sequence[Phase]:
        """Keep the image encoder as it is now; encode the contexts, or seed the texts from the trial's seed.

        Raises ValueError for the KL divergence over a single context, ModelError for too long a random text.
        """
        self.text = task.text
        self.reference = copy.deepcopy(model).eval().requires_grad_(False)
        self.generator = torch.Generator().manual_seed(task.seed)
        if self.config.text == "context":
            templates = task.contexts or task.templates
            if self.config.loss == "kld" and len(templates) < 2:
                raise ValueError("loss: kld needs at least 2 templates: a softmax over one context is always 1")
            self.contexts = contexts(task.text, task.classnames, templates)
        else:
            self.text.random_tokens(1, self.config.token_length, torch.Generator())  # too long a text fails here
        return super().setup(model, task)

    def loss(self, model: ImageClassifier, batch: Batch) -> Losses:
        """Cross-entropy and penalty from one forward pass of the trained encoder and one of the frozen one."""
        features = model.encode_image(batch.images)
        ce = self.cross_entropy(model.logits(features), batch.labels)
        with torch.no_grad():
            reference = self.reference.encode_image(batch.images)
            texts = self.contexts if self.config.text == "context" else self._random_texts()
        with torch.autocast(features.device.type, enabled=False):
            scale = float(model.logit_scale)
            if self.config.loss == "kld":
                penalty = energy_kld(features, reference, texts, scale, self.config.temperature)
            else:
                penalty = energy_gap(features, reference, texts, scale)
        return {"loss": ce + self.config.strength * penalty, "ce": ce.detach(), "car": penalty.detach()}

    def _random_texts(self) -> Tensor:
        """Features (M, D) of fresh random texts, alike on every worker."""
        tokens = self.text.random_tokens(self.config.num_texts, self.config.token_length, self.generator)
        return self.text.encode(tokens)
