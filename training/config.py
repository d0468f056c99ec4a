"""Settings of a fine-tuning run: validated, frozen, and free of torch so that reports can read them.

Everything here is part of a trial's identity. Defaults are those of the Lipsum-FT paper (arXiv:2404.00860, section 5
and cs-giung/lipsum-ft@1331873d21a4), as collected in its official scripts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Preprocessing = Literal["lipsum", "openai"]
SelectionRule = Literal["reference_val", "reference_test", "last"]


class Frozen(BaseModel):
    """Base of all settings: immutable, unknown keys rejected."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class PoolPath:
    """Marks a setting as the folder of a pool of image-text pairs: `pool: Annotated[str | None, PoolPath()] = None`.

    A manifest gives the path. In a trial's settings, and so in its identity, 'sha256:...' of the content stands in its
    place; `Task.pairs` turns that into the pool.
    """


class Recipe(Frozen):
    """How a method's parameters are optimised and its training images augmented."""

    optimizer: Literal["adam", "adamw"] = Field(
        "adam", description="adamw decouples the weight decay, adam adds it to the gradient"
    )
    lr: float = Field(1e-5, gt=0, description="peak learning rate")
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    warmup_fraction: float = Field(
        0.1, ge=0, lt=1, description="share of the steps with linearly rising lr; cosine to 0 after"
    )
    num_steps: int = Field(5000, ge=1, description="optimiser steps")
    global_batch_size: int = Field(256, ge=1, description="images a step over all workers")
    eval_every: int = Field(1000, ge=1, description="steps between evaluations on the reference domain, for selection")
    grad_clip: float | None = Field(None, gt=0, description="maximum L2 norm of the gradient; null: no clipping")
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    crop_scale: tuple[float, float] = Field(
        (0.08, 1.0), description="area of the random crop as a share of the image: minimum, maximum"
    )
    flip: bool = Field(True, description="mirror each training image with probability 0.5")
    balance_domains: bool = Field(
        False,
        description="several source domains: an even share of every batch from each, not the images of all together",
    )
    freeze_head: bool = Field(False, description="keep the head at its first weights and train the image encoder alone")

    @model_validator(mode="after")
    def _crop_scale_is_a_range(self) -> Self:
        low, high = self.crop_scale
        if not 0 < low <= high <= 1:
            raise ValueError(f"crop_scale must satisfy 0 < minimum <= maximum <= 1, got {list(self.crop_scale)}")
        return self
