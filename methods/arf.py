"""ARF (anchor-based robust fine-tuning): FLYP's loss with captions and retrieved image-text pairs as anchors.

    L = L_class + caption_weight * L_cap + retrieval_weight * L_ret
    each L_* = 1/2 [ CE(s I T^T, diagonal) + CE(s T I^T, diagonal) ]      s = exp(trained logit scale)
    L_class: images of the batch, T from templates filled with their class names (the text is drawn anew for every image)
    L_cap:   the same images, T from their own captions (text-compensated anchor)
    L_ret:   as many pairs of an image and its text, retrieved from a pool (image-text anchor)

I and T are normalised features of the global batch from the towers in training; both towers and s are trained. The
classifier to evaluate has the tuned image encoder, the head that the tuned text tower gives for all templates, and s.

The pool is any folder of image-text pairs, `pool`: a prepared dataset (its training images that have captions) or tars
with an image and a `.txt` each. Zero-shot features choose from it, by exact search: the `top_k` pairs nearest to each class
(its column of the zero-shot head) or to each training image; every pair once, in the order of the pool. They do not change
in training. No pool: L_ret is off. Whether a pool shows what the benchmark tests on is not checked: choose it accordingly.

Paper: Han et al., CVPR 2024, arXiv:2404.06244, of which the abstract and second-hand summaries were at hand.
No public code was found. From those: three contrastive terms, captions by a captioner, retrieval by similarity.
Ours, calibrate against published targets: both weights 1; `top_k` 100; queries are classes, keys the pool's images; both
towers and s are trained, as in FLYP; as many retrieved pairs a step as images, augmented as those are; separate
contrastive matrices, so that no image meets the texts of another term; the recipe.

Deviations: none from code, as there is none. The recipe's label smoothing, where it is not 0, smooths all three terms.
Cost per step: with all terms a second image forward and backward pass, and three text passes (one of them of templates);
the text tower's gradients and optimiser state. Once a trial: the zero-shot features of the pool, kept in the results'
folder `cache`, and with `query: image` of the training images.
Logged: loss, class, caption and retrieval (before their weights, of the terms that are on), logit_scale (s).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Method
from training.config import Frozen, PoolPath
from training.contrastive import (
    attach_text_tower,
    caption_table,
    contrast,
    draw_captions,
    rebuilt_classifier,
    scale_of,
    text_tokens,
)
from training.model import ImageClassifier
from training.retrieval import nearest
from training.types import Batch, Losses, Phase, Task


class ARF(Method):
    """Contrastive fine-tuning with captions and retrieved pairs; both weights 0: FLYP."""

    title: ClassVar[str] = "ARF"
    paper: ClassVar[str] = "Han et al., CVPR 2024, arXiv:2404.06244"
    own_head: ClassVar[bool] = True
    resumable: ClassVar[tuple[str, ...]] = ("generator", "steps_done")

    class Config(Frozen):
        """Settings; the defaults are ours, the paper's are lost."""

        caption_weight: float = Field(1.0, ge=0, description="weight of the images' own captions; 0: none are needed")
        retrieval_weight: float = Field(1.0, ge=0, description="weight of the retrieved pairs; 0: the pool is not read")
        pool: Annotated[str | None, PoolPath()] = Field(
            None,
            description="folder of image-text pairs: a prepared dataset, or tars of images with .txt; null: term off",
        )
        query: Literal["class", "image"] = Field(
            "class", description="what is searched for: classes or training images"
        )
        match: Literal["image", "text"] = Field("image", description="what is searched: the pool's images or its texts")
        top_k: int = Field(100, ge=1, description="pairs retrieved for each query")

    def setup(self, model: ImageClassifier, task: Task) -> Sequence[Phase]:
        """Check the captions, retrieve the pairs, and attach a copy of the text tower to the model.

        Raises ValueError, with the command that writes them, if a training image has no caption.
        """
        self.task, self.steps_done = task, 0
        if self.config.caption_weight:
            check_captions(task.captions())
        self.retrieved: Iterator[Batch] | None = None
        self.chosen: list[int] = []
        if self.config.pool is not None and self.config.retrieval_weight:
            self.pool = task.pairs(self.config.pool)
            queries = model.head.detach().T if self.config.query == "class" else self._image_features(model)
            self.chosen = retrieved(queries, self.pool.features(self.config.match), self.config.top_k)
        self.table = caption_table(task.text, task.classnames, task.templates)
        self.generator = torch.Generator().manual_seed(task.seed)
        self.text, trained = attach_text_tower(model, task.text)
        return [Phase(name="finetune", trained=trained)]

    def loss(self, model: ImageClassifier, batch: Batch) -> Losses:
        """The contrastive losses over the global batch, which every worker computes whole."""
        runtime = self.task.runtime
        drawn = draw_captions(self.table, batch.labels, self.generator, runtime.rank, runtime.world_size)
        images = runtime.gather_with_gradient(model.encode_image(batch.images))
        terms = {"class": self._contrast(images, drawn)}
        if self.config.caption_weight:
            terms["caption"] = self._contrast(images, text_tokens(self.text, batch.captions))
        if self.chosen:
            pairs = self._next_pairs(len(batch.labels) * runtime.world_size)
            shown = runtime.gather_with_gradient(model.encode_image(pairs.images))
            terms["retrieval"] = self._contrast(shown, text_tokens(self.text, pairs.captions))
        weights = {"class": 1.0, "caption": self.config.caption_weight, "retrieval": self.config.retrieval_weight}
        loss = terms["class"]
        for name in [name for name in terms if name != "class"]:
            loss = loss + weights[name] * terms[name]
        logged = {name: value.detach() for name, value in terms.items()}
        return {"loss": loss, **logged, "logit_scale": scale_of(self.text).detach()}

    def after_step(self, model: ImageClassifier, step: int) -> None:
        """Remember how many batches of retrieved pairs are used up."""
        self.steps_done = step

    def export(self, model: ImageClassifier) -> ImageClassifier:
        """The tuned image encoder with the head of the tuned text tower; the encoder is shared with `model`."""
        return rebuilt_classifier(model, self.text, self.task.classnames, self.task.templates)

    def _contrast(self, images: Tensor, tokens: Tensor) -> Tensor:
        """The contrastive loss of all workers' `images` (B, D) and this worker's token ids, a scalar."""
        return contrast(self.text, images, tokens, self.task.runtime, self.task.label_smoothing)

    @torch.no_grad()
    def _image_features(self, model: ImageClassifier) -> Tensor:
        """Zero-shot features (N, D) of the training images, whole on every worker."""
        mine = [model.encode_image(batch.images) for batch in self.task.images("train")]
        return self.task.runtime.all_gather(torch.cat(mine))

    def _next_pairs(self, global_batch_size: int) -> Batch:
        """This worker's part of the next batch of retrieved pairs; the first after an interruption is the one that was due."""
        if self.retrieved is None:
            self.retrieved = self.pool.batches(self.chosen, global_batch_size, self.steps_done)
        return next(self.retrieved)


def retrieved(queries: Tensor, keys: Tensor, top_k: int) -> list[int]:
    """Places of the keys (N, D) that are among the `top_k` nearest of any query (Q, D); ascending, each once."""
    return sorted(set(nearest(queries, keys, top_k).flatten().tolist()))


def check_captions(captions: Sequence[str | None]) -> None:
    """Raise ValueError, saying what to do, if one of the training images' captions is missing or blank."""
    missing = sum(not (caption and caption.strip()) for caption in captions)
    if missing or not captions:
        raise ValueError(
            f"ARF needs a caption of every training image, {missing} of {len(captions)} have none; write them with: "
            "python -m orchestrator prepare captions --dataset NAME_OR_FOLDER (--from JSONL for captions of your own); "
            "or set caption_weight: 0"
        )
