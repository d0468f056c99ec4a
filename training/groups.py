"""Evaluation over some of the classes: a test set that has 200 of ImageNet's 1000, or classes that stand for several.

With g_1 .. g_G the groups of labels that an image may belong to and z (K,) the logits of all classes:

    z'_i = max_{k in g_i} z_k                       labels in no group are left out, before the softmax
    p_i  = exp(z'_i) / sum_j exp(z'_j)              prediction argmax_i p_i, confidence max_i p_i, NLL -log p_(group of the label)

One label a group is the usual mask of ImageNet-R and ImageNet-A, several that of ObjectNet's 113 classes: in both cases as
mlfoundations/wise-ft@4639a3919b51 src/datasets/imagenet.py and objectnet.py, `project_logits`. It is applied to what a
predictor returns, so the members of an ensemble are averaged over all classes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


def group_logits(logits: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """(B, G) from (B, K): the largest logit of each group; see the formula above."""
    longest = max(map(len, groups))
    # A group is filled up with its own first label, which changes no maximum.
    members = torch.tensor([[*group, *[group[0]] * (longest - len(group))] for group in groups], device=logits.device)
    return logits[:, members].amax(dim=-1)


@dataclass(frozen=True)
class Groups:
    """Groups of labels with the way from a label to its group and back. Raises ValueError if they overlap or are empty."""

    members: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        labels = [label for group in self.members for label in group]
        if not self.members or not all(self.members):
            raise ValueError("a group of labels must not be empty, and there must be one")
        if len(set(labels)) != len(labels):
            raise ValueError(f"label {next(k for k in labels if labels.count(k) > 1)} is in two groups")

    @cached_property
    def _group_of(self) -> dict[int, int]:
        return {label: index for index, group in enumerate(self.members) for label in group}

    def logits(self, logits: Tensor) -> Tensor:
        """(B, G) from (B, K)."""
        return group_logits(logits, self.members)

    def index(self, labels: Tensor) -> Tensor:
        """The group of each label, (B,) int64. Raises ValueError for a label in no group."""
        try:
            found = [self._group_of[label] for label in labels.tolist()]
        except KeyError as error:
            raise ValueError(f"an image has label {error.args[0]}, which is in no group of its domain") from None
        return torch.tensor(found, dtype=torch.int64, device=labels.device)

    def first(self, indices: Tensor) -> Tensor:
        """The first label of each group, (B,) int64, of the groups' `indices`."""
        return torch.tensor([group[0] for group in self.members], device=indices.device)[indices]
