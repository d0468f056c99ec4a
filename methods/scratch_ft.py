"""Scratch-FT: fine-tuning whose head starts at zero instead of the zero-shot weights.

    L = CE(s * F_theta(x) @ W, y) ,  (theta, W) from (theta_0, 0) ; s frozen

With W = 0 all classes are equally likely, L = log K, and the encoder gets no gradient until the head has moved.

Paper: one of the three head initialisations of Nam et al. (Lipsum-FT), ICLR 2024, arXiv:2404.00860, Table 4.
Reference code: cs-giung/lipsum-ft@1331873d21a4 scripts/Lipsum-FT.py with feat_regularization 0; the zero head is the paper's
text.

Deviations: none. Cost: that of FT. Logged: loss, ce (the same number).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch

from methods.base import Method
from training.model import ImageClassifier
from training.types import Phase, Task


class ScratchFT(Method):
    """FT from a zero head."""

    title: ClassVar[str] = "Scratch-FT"
    paper: ClassVar[str] = "Nam et al., ICLR 2024, arXiv:2404.00860 (baseline)"
    own_head: ClassVar[bool] = True

    def setup(self, model: ImageClassifier, task: Task) -> Sequence[Phase]:
        """Set the head to zero; train everything."""
        with torch.no_grad():
            model.head.zero_()
        return super().setup(model, task)
