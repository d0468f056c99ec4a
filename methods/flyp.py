"""FLYP ("fine-tune like you pretrain"): both towers go on with CLIP's contrastive loss, on captions from class names.

    L = 1/2 [ CE(s I T^T, diagonal) + CE(s T I^T, diagonal) ]
    I = F_theta(x), T = G_phi(caption): normalised features of the global batch ; s = exp(trained logit scale)

A caption is a template, drawn anew for every image, filled with the image's class name. There is no head in training. The
classifier to evaluate has the tuned image encoder, the head that the tuned text tower gives for all templates, and the
tuned s. Images of one class in a batch are negatives of each other, as in the source.

Paper: Goyal et al., CVPR 2023, arXiv:2212.00638. Reference code: locuslab/FLYP@215d5bb6feed src/models/flyp_loss.py,
clip/loss.py.

Deviations: (1) a template is drawn for each image of the stream, where the source draws rows of a table of all pairs of
image and template: the same distribution, but every image comes once an epoch. (2) the recipe's optimiser, schedule and
augmentation stand in for the source's (AdamW, weight decay 0.1, batch 512, 500 warm-up steps). (3) the recipe's label
smoothing, where it is not 0, also smooths the two cross-entropies. Weight decay acts on the logit scale too, as there.
Cost per step: a text forward and backward pass over the batch's captions; the text tower's gradients and optimiser state;
at each evaluation the text features of all templates and classes.
Logged: loss, clip (the same number), logit_scale (s).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch

from methods.base import Method
from training.contrastive import (
    attach_text_tower,
    caption_table,
    contrast,
    draw_captions,
    rebuilt_classifier,
    scale_of,
)
from training.model import ImageClassifier
from training.types import Batch, Losses, Phase, Task


class FLYP(Method):
    """Contrastive fine-tuning of image encoder, text tower and logit scale. It has no settings of its own."""

    title: ClassVar[str] = "FLYP"
    paper: ClassVar[str] = "Goyal et al., CVPR 2023, arXiv:2212.00638"
    own_head: ClassVar[bool] = True
    resumable: ClassVar[tuple[str, ...]] = ("generator",)

    def setup(self, model: ImageClassifier, task: Task) -> Sequence[Phase]:
        """Attach a copy of the text tower to the model; seed the templates, alike on every worker."""
        self.task = task
        self.captions = caption_table(task.text, task.classnames, task.templates)
        self.generator = torch.Generator().manual_seed(task.seed)
        self.text, trained = attach_text_tower(model, task.text)
        return [Phase(name="finetune", trained=trained)]

    def loss(self, model: ImageClassifier, batch: Batch) -> Losses:
        """The contrastive loss over the global batch, which every worker computes whole."""
        runtime = self.task.runtime
        tokens = draw_captions(self.captions, batch.labels, self.generator, runtime.rank, runtime.world_size)
        images = runtime.gather_with_gradient(model.encode_image(batch.images))
        loss = contrast(self.text, images, tokens, runtime, self.task.label_smoothing)
        return {"loss": loss, "clip": loss.detach(), "logit_scale": scale_of(self.text).detach()}

    def export(self, model: ImageClassifier) -> ImageClassifier:
        """The tuned image encoder with the head of the tuned text tower; the encoder is shared with `model`."""
        return rebuilt_classifier(model, self.text, self.task.classnames, self.task.templates)
