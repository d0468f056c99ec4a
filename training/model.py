"""The pre-trained CLIP, the classifier made from it, and text features.

The classifier is image encoder + bias-free head on L2-normalised features, logits scaled by the frozen exp(logit_scale)
(Lipsum-FT, arXiv:2404.00860, and cs-giung/lipsum-ft@1331873d21a4 scripts/Lipsum-FT.py):

    F(x) = g(x) / ||g(x)||          (B, D)
    logits(x) = s * F(x) @ W        (B, K),  s = exp(logit_scale), W (D, K)

wise-ft and FLYP bake s into the head and add a bias; here neither is done, so W moves as in the paper.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import open_clip
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from open_clip.transformer import text_global_pool
from torch import Tensor, nn

from training.hub import HubError, fetch_weights, is_tag, use_file
from training.types import StateDict


class ModelError(ValueError):
    """A model cannot be built or its weights cannot be had; the message says which and what to do."""


class ImageClassifier(nn.Module):
    """Image encoder and classification head. All parameters can be trained; the logit scale is a buffer."""

    logit_scale: Tensor
    text_weights: StateDict | None
    """weights of the text tower that belongs to the image encoder, where it was tuned as well; empty: the pre-trained one;
    None: there is none that belongs to it. No part of the classifier's own weights: heads for other classes are made of it"""
    images_encoded: ClassVar[int] = 0
    """images that all image encoders of this process have encoded so far; a run counts its own by the difference"""

    def __init__(self, visual: nn.Module, head: Tensor, logit_scale: float) -> None:
        """`visual`: (B, 3, H, W) -> (B, D), projection included; `head`: (D, K); `logit_scale`: s, already exponentiated."""
        super().__init__()
        self.visual = visual
        self.head = nn.Parameter(head.detach().clone())
        self.register_buffer("logit_scale", torch.tensor(float(logit_scale)))
        self.text_weights = {}

    def with_text(self, weights: StateDict | None) -> Self:
        """This classifier, with the weights of its own text tower (`TextEncoder.state_dict()`); see `text_weights`."""
        self.text_weights = weights
        return self

    def with_heads(self, head_for: Callable[[ImageClassifier], Tensor]) -> ImageClassifier:
        """A classifier with the same image encoder and logit scale, and the head (D, K') that `head_for` makes for it."""
        other = ImageClassifier(self.visual, head_for(self), float(self.logit_scale)).with_text(self.text_weights)
        return other.to(self.logit_scale.device).train(self.training)

    def embed(self, images: Tensor) -> Tensor:
        """Features g(x) before normalisation (B, D), float32 whatever the autocast, of normalised images (B, 3, H, W)."""
        ImageClassifier.images_encoded += len(images)
        features: Tensor = self.visual(images).float()
        return features

    def encode_image(self, images: Tensor) -> Tensor:
        """L2-normalised features (B, D), float32 whatever the autocast, of normalised images (B, 3, H, W)."""
        return F.normalize(self.embed(images), dim=-1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K), float32."""
        return self.logits(self.encode_image(images))

    def logits(self, features: Tensor) -> Tensor:
        """s * features @ W in float32: bfloat16 would round logits around 25 to steps of 0.125."""
        with torch.autocast(features.device.type, enabled=False):
            return self.logit_scale * features.float() @ self.head


class TextEncoder(nn.Module):
    """The frozen text tower: features of token ids, zero-shot heads, and random texts. A method may train a copy of it."""

    clip: Any
    """open_clip's model without its image tower; its class varies with the architecture"""
    texts_encoded: ClassVar[int] = 0
    """texts that all towers of this process have encoded so far; a run counts its own by the difference"""

    def __init__(self, clip: nn.Module, tokenizer: Any) -> None:
        """`tokenizer`: texts to token ids (N, context length), as open_clip's."""
        super().__init__()
        self.clip = clip.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.logit_scale = float(self.clip.logit_scale.detach().exp())

    @property
    def device(self) -> torch.device:
        """Where the tower lies."""
        return torch.device(next(self.clip.parameters()).device)

    @torch.no_grad()
    def encode(self, tokens: Tensor) -> Tensor:
        """L2-normalised features (N, D), float32, of token ids (N, L) with L at most the context length. No gradient."""
        return self.features(tokens)

    def features(self, tokens: Tensor) -> Tensor:
        """As `encode`, with gradient, for methods that train a copy of the tower.

        Short sequences are not padded where the tower allows it: attention is causal and the feature is read at the
        end-of-text token, so what follows has no influence, and 10 tokens cost a seventh of 77.
        """
        TextEncoder.texts_encoded += len(tokens)
        tokens = tokens.to(self.device)
        if isinstance(self.clip, CLIP):
            return F.normalize(self._encode_short(self.clip, tokens).float(), dim=-1)
        padded = F.pad(tokens, (0, self.context_length - tokens.shape[1]))
        return F.normalize(self.clip.encode_text(padded).float(), dim=-1)

    @staticmethod
    def _encode_short(clip: Any, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        dtype = clip.transformer.get_cast_dtype()
        x: Tensor = clip.token_embedding(tokens).to(dtype) + clip.positional_embedding[:length].to(dtype)
        mask = None if clip.attn_mask is None else clip.attn_mask[:length, :length]
        x = clip.ln_final(clip.transformer(x, attn_mask=mask))
        x = text_global_pool(x, tokens, clip.text_pool_type, eos_token_id=getattr(clip, "text_eos_id", None))
        projection = clip.text_projection
        if projection is not None:
            x = projection(x) if isinstance(projection, nn.Linear) else torch.matmul(x, projection)
        return x

    @property
    def context_length(self) -> int:
        """Tokens of the longest text, start and end included."""
        return int(self.clip.context_length)

    @torch.no_grad()
    def zero_shot_head(self, classnames: Sequence[str], templates: Sequence[str]) -> Tensor:
        """Zero-shot classification head (D, K), float32.

            raw[d, t, c] = G(template_t(class_c)) / ||.|| ;  W[:, c] = mean_t raw[:, t, c], normalised

        Source: cs-giung/lipsum-ft@1331873d21a4 scripts/setup.py (`cls`).
        """
        columns = []
        for classname in classnames:
            features = self.encode(self.tokenizer([template.format(classname) for template in templates]))
            columns.append(F.normalize(features.mean(dim=0), dim=-1))
        return torch.stack(columns, dim=1)

    def random_tokens(self, num_texts: int, token_length: int, generator: torch.Generator) -> Tensor:
        """Random texts as token ids (num_texts, token_length + 2): start, ids uniform in [0, start), end.

        Ids, not strings; start and end never occur inside. Source: cs-giung/lipsum-ft@1331873d21a4 scripts/Lipsum-FT.py.
        Raises ModelError for a tokenizer without start and end tokens or a text longer than the context.
        """
        start, end = (getattr(self.tokenizer, name, None) for name in ("sot_token_id", "eot_token_id"))
        if start is None or end is None:
            raise ModelError(
                f"random texts need CLIP's tokenizer; {type(self.tokenizer).__name__} has no start and end token"
            )
        if token_length + 2 > self.context_length:
            raise ModelError(
                f"token_length {token_length} + 2 exceeds the text tower's context of {self.context_length} tokens; "
                f"use at most {self.context_length - 2}"
            )
        middle = torch.randint(0, min(start, end), (num_texts, token_length), generator=generator)
        ends = torch.tensor([[start, end]]).expand(num_texts, 2)
        return torch.cat([ends[:, :1], middle, ends[:, 1:]], dim=1)


@dataclass(frozen=True, kw_only=True)
class PretrainedClip:
    """A loaded CLIP on the CPU, never modified: every trial works on copies."""

    visual: nn.Module
    text: TextEncoder
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def classifier(self, head: Tensor, device: torch.device) -> ImageClassifier:
        """A fresh classifier on `device` with the pre-trained image encoder and `head` (D, K), in eval mode."""
        model = ImageClassifier(copy.deepcopy(self.visual), head, self.text.logit_scale)
        return model.to(device).eval()


def load_clip(name: str, pretrained: str, config: Path | None = None) -> PretrainedClip:
    """Load an open_clip model on the CPU in float32.

    `pretrained` is a weights file, an open_clip tag, or 'random:SEED'; `config` an open_clip model config file for an
    architecture that open_clip does not list (its `name` is the file's stem).
    Raises ModelError naming the model and what to do.
    """
    if config is not None:
        open_clip.add_model_config(config)
    if name not in open_clip.list_models():
        raise ModelError(
            f"open_clip knows no model {name!r}" + (f" (config {config} defines {config.stem!r})" if config else "")
        )
    clip = _create(name, pretrained)
    size = clip.visual.image_size
    visual, clip.visual = clip.visual, nn.Identity()
    return PretrainedClip(
        visual=visual.eval(),
        text=TextEncoder(clip, open_clip.get_tokenizer(name)),
        image_size=int(size[0] if isinstance(size, tuple | list) else size),
        mean=tuple(getattr(visual, "image_mean", None) or open_clip.OPENAI_DATASET_MEAN),
        std=tuple(getattr(visual, "image_std", None) or open_clip.OPENAI_DATASET_STD),
    )


def _create(name: str, pretrained: str) -> Any:
    if pretrained.startswith("random:"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(pretrained.removeprefix("random:")))
            return open_clip.create_model(name, pretrained=None, pretrained_text=False)
    try:
        if is_tag(name, pretrained):
            use_file(name, pretrained, fetch_weights(name, pretrained))
        # require_pretrained: without it open_clip hands back random weights with only a warning.
        return open_clip.create_model(name, pretrained=pretrained, require_pretrained=True)
    except HubError as error:
        raise ModelError(str(error)) from None
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "no message")
        raise ModelError(
            f"cannot load weights {pretrained!r} of model {name!r}: {type(error).__name__}: {reason}; give `pretrained:` a "
            "weights file of this architecture, or another tag"
        ) from error


def state_dict(model: ImageClassifier) -> dict[str, Tensor]:
    """A copy of the weights on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def load_state(model: ImageClassifier, state: StateDict) -> ImageClassifier:
    """Load weights in place; raises ModelError if names or shapes differ."""
    try:
        model.load_state_dict(dict(state))
    except RuntimeError as error:
        raise ModelError(f"weights do not fit the model: {' '.join(str(error).split())}") from None
    return model
