"""Selection rules: which weights of a run are reported, and what a reader has to know about each. No ray, no torch.

The choice itself is made in the trial, from the evaluations on the reference domain during training.
"""

from __future__ import annotations

from typing import NamedTuple

from training.config import SelectionRule


class RuleText(NamedTuple):
    """A rule in words."""

    text: str
    """what it selects on"""
    selects_on_reported: bool
    """True: the split it selects on is also the one reported, so the reference accuracy is optimistic"""


_RULES: dict[SelectionRule, RuleText] = {
    "reference_val": RuleText(
        "best accuracy on held-out training images of the reference domain, of several the mean", False
    ),
    "reference_test": RuleText("best accuracy on the reference domain's test split, of several the mean", True),
    "last": RuleText("the last step, nothing is selected", False),
}


def describe(rule: SelectionRule) -> RuleText:
    """A rule in words, for captions."""
    return _RULES[rule]
