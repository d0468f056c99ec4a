"""WiSE-FT: interpolates between the zero-shot and the fine-tuned weights.

    theta_alpha = (1 - alpha) theta_0 + alpha theta_1      every parameter, head included; alpha = 0 zero-shot, 1 fine-tuned

Paper: Wortsman et al., CVPR 2022, arXiv:2109.01903. Reference code: mlfoundations/wise-ft@58b7a4b343b0 src/wise_ft.py.

Deviations: none in the formula. The head has no bias and the logit scale stays outside it (training/model.py), so it is
the bare head that is interpolated. A tuned text tower (FLYP) is interpolated as well, which matters only where heads for
other datasets are made of it. Integer buffers, which the reference truncates, are taken from the fine-tuned model.
Cost: no training; all alphas are evaluated in one pass over the images, with one copy of the weights for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from methods.base import PostHoc, PostHocInputs, Variant
from training.config import Frozen
from training.types import StateDict
from training.weights import interpolate


class WiSEFT(PostHoc):
    """One variant for each alpha. The default alphas are the paper's 0, 0.1, ..., 1."""

    title: ClassVar[str] = "WiSE-FT"
    paper: ClassVar[str] = "Wortsman et al., CVPR 2022, arXiv:2109.01903"

    class Config(Frozen):
        """Settings."""

        alphas: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
            tuple(i / 10 for i in range(11)), min_length=1, description="weights of the fine-tuned model"
        )

        @field_validator("alphas")
        @classmethod
        def _distinct(cls, alphas: tuple[float, ...]) -> tuple[float, ...]:
            if len(set(alphas)) != len(alphas):
                raise ValueError(f"alphas repeat: {list(alphas)}")
            return alphas

    def derive(self, inputs: PostHocInputs) -> Sequence[Variant]:
        """The interpolated classifiers."""
        return [
            Variant(
                name=f"alpha={alpha:g}",
                parameters={"alpha": alpha},
                predictor=inputs.combined(partial(interpolated, alpha=alpha)),
            )
            for alpha in self.config.alphas
        ]


def interpolated(zero_shot: StateDict, finetuned: Mapping[str, StateDict], alpha: float) -> StateDict:
    """The formula, for the weights of the only input."""
    (only,) = finetuned.values()
    return interpolate(zero_shot, only, alpha)
