"""CaRot: FLYP with a near-orthogonal image projection, and distilled from an average of itself.

    L = L_clip + 0.05 ||W_v W_t^T||_F + l_oc ||W_v^T W_v - I||_F + l_sd L_SD
    L_SD = mean_i [ CE(softmax(zT_i), zS_i) + CE(softmax(zT^T_i), zS^T_i) ] ,  z = s I T^T over the global batch
    teacher <- m teacher + (1 - m) student   after steps 0, 500, 1000, ... (counted from 0)
    m = 0.05 + (0.9 - 0.05) t / (0.2 N) at step t of N below 0.2 N, then 0.9

L_clip, the captions and the exported classifier are FLYP's; W_v (C_v, D) and W_t (C_t, D) are the projections of the two
towers. The teacher starts at zero-shot and holds both towers and s. Step 0 has no L_SD: teacher and student are equal there.

Paper: Oh et al., NeurIPS 2024, arXiv:2311.01723. Reference code: MLAI-Yonsei/CaRot@c3e8bdc416c5 src/models/carot_loss.py,
with the weights of example_scripts/carot.sh (0.05, 0.2, 1.5).

Deviations: (1) log_softmax where the source takes the logarithm of the softmax, which is infinite in float32 where logits
lie far apart. (2) The recipe stands in for the source's (AdamW, weight decay 0.1, batch 512, 500 warm-up
steps, float16); its label smoothing acts on L_clip. (3) Captions are drawn as in flyp.py. (4) The checkpoint is chosen by
the selection rule; the source takes the last.
As in the source, m weighs the teacher: after step 0 the teacher is 95 % student.
Cost per step: FLYP's, and a forward pass of both towers without gradient; a copy of both towers in memory.
Logged: loss, clip, orthogonality, cross_norm, distillation (each before its weight), logit_scale (s).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from methods.base import Method
from training.config import Frozen
from training.contrastive import (
    attach_text_tower,
    caption_table,
    clip_logits,
    clip_loss,
    draw_captions,
    rebuilt_classifier,
    scale_of,
)
from training.model import ImageClassifier, ModelError
from training.types import Batch, Losses, Phase, Task


def self_distillation(student: Tensor, teacher: Tensor) -> Tensor:
    """mean_i [ CE(softmax(T_i), S_i) + CE(softmax(T^T_i), S^T_i) ], a scalar; `student`, `teacher`: logits (B, B)."""
    rows = F.softmax(teacher, dim=1) * F.log_softmax(student, dim=1)
    columns = F.softmax(teacher.T, dim=1) * F.log_softmax(student.T, dim=1)
    return -(rows + columns).sum(dim=1).mean()


def orthogonality(projection: Tensor) -> Tensor:
    """|| W^T W - I ||_F, a scalar; `projection`: W (C, D) of the image tower."""
    gram = projection.T @ projection
    return (gram - torch.eye(len(gram), dtype=gram.dtype, device=gram.device)).square().sum().sqrt()


def cross_norm(image_projection: Tensor, text_projection: Tensor) -> Tensor:
    """|| W_v W_t^T ||_F, a scalar; (C_v, D) and (C_t, D)."""
    return (image_projection @ text_projection.T).square().sum().sqrt()


def momentum(step: int, num_steps: int, start: float = 0.05, end: float = 0.9, ramp: float = 0.2) -> float:
    """The teacher's share of itself after the optimiser step `step` (from 0): linear to `end` over `ramp` of the steps."""
    length = num_steps * ramp
    return (end - start) / length * step + start if step < length else end


class CaRot(Method):
    """Calibrated robust contrastive fine-tuning; with all three weights 0 it is FLYP."""

    title: ClassVar[str] = "CaRot"
    paper: ClassVar[str] = "Oh et al., NeurIPS 2024, arXiv:2311.01723"
    own_head: ClassVar[bool] = True
    resumable: ClassVar[tuple[str, ...]] = ("generator", "teacher", "steps_done")

    class Config(Frozen):
        """Settings; the defaults are the official script's and code's."""

        orthogonality: float = Field(0.2, ge=0, description="weight l_oc of ||W_v^T W_v - I||")
        distillation: float = Field(1.5, ge=0, description="weight l_sd of the self-distillation")
        cross_norm: float = Field(0.05, ge=0, description="weight of ||W_v W_t^T||")
        teacher_every: int = Field(500, ge=1, description="steps between updates of the teacher")
        momentum_start: float = Field(0.05, ge=0, lt=1, description="teacher's share of itself at the start")
        momentum_end: float = Field(0.9, ge=0, lt=1, description="teacher's share of itself after the ramp")
        momentum_ramp: float = Field(0.2, ge=0, le=1, description="share of the steps over which it rises")

    def setup(self, model: ImageClassifier, task: Task) -> Sequence[Phase]:
        """Attach a copy of the text tower, copy both towers as the teacher. Raises ModelError for towers without projections."""
        self.task = task
        self.captions = caption_table(task.text, task.classnames, task.templates)
        self.generator = torch.Generator().manual_seed(task.seed)
        self.teacher = copy.deepcopy(model)
        self.teacher_text, _ = attach_text_tower(self.teacher, task.text)
        self.teacher.eval().requires_grad_(False)
        self.text, trained = attach_text_tower(model, task.text)
        self._projections(model)  # missing ones fail here
        self.steps_done = 0
        return [Phase(name="finetune", trained=trained)]

    def loss(self, model: ImageClassifier, batch: Batch) -> Losses:
        """The four terms over the global batch, which every worker computes whole."""
        runtime, weights = self.task.runtime, self.config
        tokens = draw_captions(self.captions, batch.labels, self.generator, runtime.rank, runtime.world_size)
        images = runtime.gather_with_gradient(model.encode_image(batch.images))
        texts = runtime.gather_with_gradient(self.text.features(tokens))
        teacher = self._teacher_logits(batch.images, tokens) if self.steps_done and weights.distillation else None
        with torch.autocast(images.device.type, enabled=False):
            scale = scale_of(self.text)
            logits = clip_logits(images, texts, scale)
            image_projection, text_projection = self._projections(model)
            clip = clip_loss(logits, self.task.label_smoothing)
            across = cross_norm(image_projection, text_projection)
            orthogonal = orthogonality(image_projection)
            distillation = torch.zeros_like(clip) if teacher is None else self_distillation(logits, teacher)
        loss = clip + weights.cross_norm * across + weights.orthogonality * orthogonal
        terms = {
            "clip": clip,
            "orthogonality": orthogonal,
            "cross_norm": across,
            "distillation": distillation,
            "logit_scale": scale,
        }
        return {
            "loss": loss + weights.distillation * distillation,
            **{name: term.detach() for name, term in terms.items()},
        }

    @torch.no_grad()
    def after_step(self, model: ImageClassifier, step: int) -> None:
        """Move the teacher towards the student, now and then."""
        self.steps_done = step
        config, done = self.config, step - 1
        if done % config.teacher_every == 0:
            start, end, ramp = config.momentum_start, config.momentum_end, config.momentum_ramp
            keep = momentum(done, self.task.num_steps, start, end, ramp)
            for mine, student in zip(self.teacher.parameters(), model.parameters(), strict=True):
                mine.mul_(keep).add_((1 - keep) * student)

    def export(self, model: ImageClassifier) -> ImageClassifier:
        """The tuned image encoder with the head of the tuned text tower; the encoder is shared with `model`."""
        return rebuilt_classifier(model, self.text, self.task.classnames, self.task.templates)

    @torch.no_grad()
    def _teacher_logits(self, images: Tensor, tokens: Tensor) -> Tensor:
        image_features = self.task.runtime.all_gather(self.teacher.encode_image(images))
        text_features = self.task.runtime.all_gather(self.teacher_text.features(tokens))
        with torch.autocast(images.device.type, enabled=False):
            return clip_logits(image_features, text_features, self.teacher_text.clip.logit_scale.exp())

    def _projections(self, model: ImageClassifier) -> tuple[Tensor, Tensor]:
        """W_v (C_v, D) and W_t (C_t, D)."""
        image = getattr(model.visual, "proj", None)
        text = getattr(self.text.clip, "text_projection", None)
        text = text.weight.T if isinstance(text, nn.Linear) else text
        if not isinstance(image, Tensor) or not isinstance(text, Tensor):
            raise ModelError(
                "CaRot needs a linear projection at the end of both towers, as in CLIP's vision transformers"
            )
        return image, text
