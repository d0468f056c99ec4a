"""What trials will cost, in steps and images, from counts alone. No ray, no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from orchestrator.spec import DataRef, PlannedTrial
from orchestrator.transfer import places


@dataclass(frozen=True)
class Estimate:
    """What trials will do. Images are counted each time they are read."""

    num_steps: int = 0
    training_images: int = 0
    evaluation_images: int = 0
    """one pass for all variants of a post-hoc trial"""

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(
            self.num_steps + other.num_steps,
            self.training_images + other.training_images,
            self.evaluation_images + other.evaluation_images,
        )


def estimate(trial: PlannedTrial, counts: Mapping[str, Mapping[str, int]]) -> Estimate:
    """Steps and images of one trial: training, selection on the reference domains, and what is reported."""
    spec, recipe = trial.spec, trial.spec.recipe
    splits = {domain: _split_sizes(spec.data, counts.get(domain, {})) for domain in spec.data.targets}
    tests = sum(size.test for size in splits.values())
    if spec.data.target_split == "in":  # a source has nothing but its held-out images to be measured on
        tests = sum(size.val if domain in spec.data.sources else size.test for domain, size in splits.items())
        tests += sum(size.val for size in splits.values()) if not spec.data.sources else 0
    tests += sum(counts.get(name, {}).get("test", 0) for name in places(spec.data.transfer))
    if recipe is None:
        return Estimate(evaluation_images=tests)
    rule = spec.selection or "last"
    chosen = {"reference_val": "val", "reference_test": "test"}.get(rule)
    selected = sum(getattr(splits[source], chosen) for source in spec.data.sources) if chosen else 0
    if not trial.takes_steps:  # solved for in one pass over all images that are not measured on, and evaluated once
        seen = sum(splits[source].train + splits[source].val for source in spec.data.sources)
        return Estimate(0, seen, tests + selected)
    passes = math.ceil(recipe.num_steps / recipe.eval_every)
    return Estimate(recipe.num_steps, recipe.num_steps * recipe.global_batch_size, tests + passes * selected)


class _Sizes(NamedTuple):
    """Images of a domain: trained on, held out, and measured on."""

    train: int
    val: int
    test: int


def _split_sizes(data: DataRef, counts: Mapping[str, int]) -> _Sizes:
    if data.target_split == "in":
        pool = sum(counts.values())
        val = round(pool * data.val_fraction)
        return _Sizes(pool - val, val, pool - val)
    train = counts.get("train", 0)
    val = round(train * data.val_fraction)
    return _Sizes(train - val, val, counts.get("test", 0))
