"""What methods share that train both towers of CLIP on images and captions made from class names."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from training.model import ImageClassifier, TextEncoder
from training.runtime import Runtime


def clip_logits(images: Tensor, texts: Tensor, logit_scale: Tensor) -> Tensor:
    """s * I @ T^T, (B, B): image i and text j. `images`, `texts`: (B, D) normalised, row i of each a pair."""
    return logit_scale * images @ texts.T


def clip_loss(logits: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """1/2 [ CE(logits, diagonal) + CE(logits^T, diagonal) ], a scalar; `logits` (B, B) as of `clip_logits`.

    Images of one class are negatives of each other's captions, as in the source: locuslab/FLYP@215d5bb6feed clip/loss.py
    (`ClipLoss` without `ground_labels`).
    """
    pairs = torch.arange(len(logits), device=logits.device)
    images = F.cross_entropy(logits, pairs, label_smoothing=label_smoothing)
    return 0.5 * (images + F.cross_entropy(logits.T, pairs, label_smoothing=label_smoothing))


def contrast(
    text: TextEncoder, images: Tensor, tokens: Tensor, runtime: Runtime, label_smoothing: float = 0.0
) -> Tensor:
    """`clip_loss` of the global batch, a scalar in float32; every worker computes it whole.

    `images` (B, D) are the features of all workers' images, `tokens` (B / workers, L) this worker's texts. The texts' features
    are gathered here, with gradient; s is that of the text tower.
    """
    texts = runtime.gather_with_gradient(text.features(tokens))
    with torch.autocast(images.device.type, enabled=False):
        return clip_loss(clip_logits(images, texts, scale_of(text)), label_smoothing)


def scale_of(text: TextEncoder) -> Tensor:
    """s, a scalar: the exponential of the tower's logit scale, which is trained."""
    scale: Tensor = text.clip.logit_scale.exp().squeeze()
    return scale


def attach_text_tower(model: ImageClassifier, text: TextEncoder) -> tuple[TextEncoder, tuple[str, ...]]:
    """Give `model` a copy of the text tower as its submodule `text`, and name what a contrastive loss trains.

    That is every parameter of both towers and the logarithm of the logit scale, `text.clip.logit_scale`; not the head,
    which `rebuilt_classifier` makes anew, and not the bias that some towers have for other losses.
    """
    tower = TextEncoder(copy.deepcopy(text.clip), text.tokenizer)
    model.add_module("text", tower)
    untouched = {"head", "text.clip.logit_bias"}
    return tower, tuple(name for name, _ in model.named_parameters() if name not in untouched)


def rebuilt_classifier(
    model: ImageClassifier, tower: TextEncoder, classnames: Sequence[str], templates: Sequence[str]
) -> ImageClassifier:
    """A plain classifier with the image encoder of `model`, head and logit scale from the tuned text tower, and that tower's
    weights, of which heads for other classes can be made. Encoder and tower are shared with what goes on training."""
    training = tower.training
    tower.eval()  # some text towers have dropout
    head = tower.zero_shot_head(classnames, templates)
    tower.train(training)
    scale = float(tower.clip.logit_scale.detach().exp())
    return ImageClassifier(model.visual, head, scale).to(head.device).with_text(tower.state_dict())


def caption_table(text: TextEncoder, classnames: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Token ids (T, K, L) of every template filled with every class name, without the columns that all leave empty."""
    tokens = torch.stack([text.tokenizer([template.format(name) for name in classnames]) for template in templates])
    used = tokens.flatten(0, 1).any(dim=0).nonzero()
    return tokens[..., : int(used.max()) + 1].to(text.device)


def draw_captions(
    table: Tensor, labels: Tensor, generator: torch.Generator, rank: int = 0, world_size: int = 1
) -> Tensor:
    """Token ids (B, L): for each of this worker's `labels` (B,) a caption of its class, the template drawn at random.

    The templates of the whole global batch are drawn and this worker's part of them is taken, so that an image has the
    same caption for any number of workers.
    """
    chosen = torch.randint(len(table), (len(labels) * world_size,), generator=generator)
    mine = chosen[rank * len(labels) : (rank + 1) * len(labels)]
    return table[mine.to(table.device), labels.to(table.device)]


def text_tokens(text: TextEncoder, captions: Sequence[str | None]) -> Tensor:
    """Token ids (B, L) of captions, without the columns that all leave empty. Raises ValueError if one is None."""
    if missing := sum(caption is None for caption in captions):
        raise ValueError(f"{missing} of {len(captions)} images of a batch have no caption")
    tokens: Tensor = text.tokenizer([str(caption) for caption in captions])
    used = tokens.any(dim=0).nonzero()
    return tokens[:, : int(used.max()) + 1].to(text.device)
