"""FT: plain fine-tuning of image encoder and head with cross-entropy, head started at the zero-shot weights.

    L = CE(s * F_theta(x) @ W, y) ,  (theta, W) from (theta_0, W0) ; s frozen

Paper: the baseline of Nam et al. (Lipsum-FT), ICLR 2024, arXiv:2404.00860, section 2.2.
Reference code: cs-giung/lipsum-ft@1331873d21a4 scripts/Lipsum-FT.py with feat_regularization 0.

It has no settings: learning rate, steps, batch and augmentation are the recipe's.
Cost: one image forward and backward pass a step; the measure of all other methods' cost. Logged: loss, ce (the same number).
"""

from __future__ import annotations

from typing import ClassVar

from methods.base import Method


class FT(Method):
    """The base class under its own name. Extra cost: none."""

    title: ClassVar[str] = "FT"
    paper: ClassVar[str] = "Nam et al., ICLR 2024, arXiv:2404.00860 (baseline)"
