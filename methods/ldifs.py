"""LDIFS: keeps the intermediate features of the image encoder near those before fine-tuning.

    L = CE + strength * mean_x 1/|layers| sum_l mean_{n,c} ( norm(h_l(x; theta))_{nc} - norm(h_l(x; theta_0))_{nc} )^2
    norm(h) = h / (||h||_2 + 1e-10)

h_l (N, C) are the tokens after the layer norm at the entrance (layer 0) and after blocks 1/4, 1/2, 3/4 and 4/4 of the
depth: 3, 6, 9 and 12 of ViT-B. The L2 norm runs over the tokens, channel by channel, as in the source.

Paper: Mukhoti et al., TMLR 2024, arXiv:2308.13320. Reference code: omegafragger/ldifs_code@c7e82a4990f2 loss/ldifs.py,
model/modeling.py (`get_features`), alpha 10.

Deviations: (1) the source names blocks 3, 6, 9, 12 whatever the depth; here they are quarters of the depth, or `layers`.
(2) the source walks the blocks by itself and, with an open_clip whose blocks take the batch first, attends across the
batch; here the encoder's own forward pass is recorded. (3) `norm_over: channels`, the norm of each token
as in LPIPS, is ours. (4) the head starts at the zero-shot weights; the source offers that and a linear probe. (5) the
recipe stands in for the source's optimiser (AdamW, lr 1e-3, weight decay 0.1).
Cost per step: a second image forward pass without gradient, a frozen copy of the image encoder, and the recorded tokens of
both (B x N x C for each layer) in memory.
Logged: loss, ce, ldifs (the penalty before `strength`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from methods.base import Method
from training.config import Frozen
from training.model import ImageClassifier, ModelError
from training.types import Batch, Losses, Phase, Task

NORM_DIM = {"tokens": 1, "channels": 2}


def feature_distance(
    features: Sequence[Tensor], reference: Sequence[Tensor], dim: int = 1, eps: float = 1e-10
) -> Tensor:
    """mean over images, layers, tokens and channels of (h / (||h|| + eps) - h0 / (||h0|| + eps))^2, a scalar.

    `features`, `reference`: (B, N, C) for each layer, now and before; the norms run over `dim`: 1 tokens (the source), 2
    channels. Source: omegafragger/ldifs_code@c7e82a4990f2 loss/ldifs.py `LDIFSFinetune`.
    """
    distances = []
    for now, before in zip(features, reference, strict=True):
        now, before = (h.to(torch.promote_types(h.dtype, torch.float32)) for h in (now, before))
        now, before = (h / (h.square().sum(dim=dim, keepdim=True).sqrt() + eps) for h in (now, before))
        distances.append((now - before).square().mean())
    return torch.stack(distances).mean()


def quarters(depth: int) -> tuple[int, ...]:
    """Layer 0 and the blocks at quarters of the depth: (0, 3, 6, 9, 12) of 12."""
    return tuple(sorted({0, *(max(1, round(depth * q / 4)) for q in (1, 2, 3, 4))}))


@contextmanager
def recorded(visual: nn.Module, layers: Sequence[int]) -> Iterator[list[Tensor]]:
    """Within it, a forward pass of `visual` fills the list with the tokens (B, N, C) after each of `layers`, in order."""
    blocks = _blocks(visual)
    found: list[Tensor] = []
    batch_first = getattr(visual.transformer, "batch_first", True)

    def after_block(module: nn.Module, inputs: object, output: Tensor) -> None:
        found.append(output if batch_first else output.transpose(0, 1))

    def after_norm(module: nn.Module, inputs: object, output: Tensor) -> None:
        found.append(output)

    handles = [
        blocks[layer - 1].register_forward_hook(after_block)
        if layer
        else visual.get_submodule("ln_pre").register_forward_hook(after_norm)
        for layer in layers
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _blocks(visual: nn.Module) -> nn.ModuleList:
    """The residual blocks; raises ModelError where there are none."""
    blocks = getattr(getattr(visual, "transformer", None), "resblocks", None)
    if not isinstance(blocks, nn.ModuleList) or not hasattr(visual, "ln_pre"):
        raise ModelError(
            f"LDIFS needs the blocks of open_clip's VisionTransformer, which {type(visual).__name__} has not"
        )
    return blocks


class LDIFS(Method):
    """Fine-tuning with a penalty on the change of intermediate features; `strength` 0 is FT."""

    title: ClassVar[str] = "LDIFS"
    paper: ClassVar[str] = "Mukhoti et al., TMLR 2024, arXiv:2308.13320"

    class Config(Frozen):
        """Settings; the defaults are the official code's."""

        strength: float = Field(10.0, ge=0, description="alpha, weight of the penalty; 0: plain fine-tuning")
        layers: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
            None, min_length=1, description="0: entrance, n: after block n; null: entrance and quarters of the depth"
        )
        norm_over: Literal["tokens", "channels"] = Field(
            "tokens", description="axis of the L2 norm: tokens as the official code, channels as LPIPS (ours)"
        )

        @field_validator("layers")
        @classmethod
        def _ascending(cls, layers: tuple[int, ...] | None) -> tuple[int, ...] | None:
            if layers is not None and list(layers) != sorted(set(layers)):
                raise ValueError(f"layers must ascend without repeats, got {list(layers)}")
            return layers

    def setup(self, model: ImageClassifier, task: Task) -> Sequence[Phase]:
        """Keep the image encoder as it is now. Raises ModelError for layers that the encoder has not."""
        depth = len(_blocks(model.visual))
        self.layers = quarters(depth) if self.config.layers is None else self.config.layers
        if self.layers[-1] > depth:
            raise ModelError(f"layers: block {self.layers[-1]} of an image encoder with {depth} blocks")
        self.reference = copy.deepcopy(model).eval().requires_grad_(False)
        return super().setup(model, task)

    def loss(self, model: ImageClassifier, batch: Batch) -> Losses:
        """Cross-entropy and penalty from one forward pass of the trained encoder and one of the frozen one."""
        with recorded(model.visual, self.layers) as now:
            ce = self.cross_entropy(model(batch.images), batch.labels)
        with torch.no_grad(), recorded(self.reference.visual, self.layers) as before:
            self.reference.encode_image(batch.images)
        with torch.autocast(batch.images.device.type, enabled=False):
            penalty = feature_distance(now, before, NORM_DIM[self.config.norm_over])
        return {"loss": ce + self.config.strength * penalty, "ce": ce.detach(), "ldifs": penalty.detach()}
