"""What a method can do nothing with: a recipe against its nature, too few trials to combine, the same twice."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from methods.base import Method
from orchestrator.manifest.errors import Problems
from orchestrator.manifest.yaml_lines import KeyPath
from training.config import Recipe
from training.optim import ONE_STEP, trains_nothing

if TYPE_CHECKING:
    from orchestrator.manifest.methods import MethodUse


def check_recipes(
    path: KeyPath, own: Collection[str], cls: type[Method], recipes: Sequence[Recipe], problems: Problems
) -> None:
    """Note recipes of the entry at `path` that its method can do nothing with.

    `own`: keys that stand in its own `recipe:`; the others come from that of the benchmark.
    """

    def where(key: str) -> KeyPath:
        return (*(path if key in own else path[:-2]), "recipe", key)

    if cls.own_head and any(recipe.freeze_head for recipe in recipes):
        problems.add(
            where("freeze_head"),
            f"is true, but {path[-1]!r} never keeps the zero-shot head: give {path[-1]!r} recipe: {{freeze_head: false}}, "
            "or leave it out",
        )
    for recipe in recipes if cls.takes_steps else ():
        if trains_nothing(recipe.num_steps, recipe.warmup_fraction):
            problems.add(where("num_steps"), f"is {recipe.num_steps}: {ONE_STEP}")


def check_inputs(
    path: KeyPath, methods: Sequence[MethodUse], post_hoc: Sequence[MethodUse], num_seeds: int, problems: Problems
) -> None:
    """Note what would combine fewer trials than it needs. `path`: of the benchmark."""
    trials = {use.key: len(use.points) * num_seeds for use in methods if use.kind == "trained"}
    for use in post_hoc:
        for i, label in enumerate(use.of):
            if trials.get(label, use.fewest) < use.fewest:
                few = f"{use.key!r} needs at least {use.fewest} trials to combine, and {label!r} has {trials[label]}"
                problems.add((*path, "post_hoc", use.key, "of", i), f"{few}; give it more seeds, or a grid")


def check_labels(path: KeyPath, uses: Sequence[MethodUse], problems: Problems) -> None:
    """Note two entries that make the same trials, or go by the same label. `path`: of the benchmark."""
    contents: dict[str, str] = {}
    labels: set[str] = set()
    for use in uses:
        where = (*path, "post_hoc" if use.kind == "post_hoc" else "methods", use.key)
        for point in use.points:
            recipe = point.recipe and point.recipe.model_dump(mode="json")
            content = json.dumps([use.method, point.settings, recipe], sort_keys=True)
            same = [contents[f"{of}:{content}"] for of in use.of or ("",) if f"{of}:{content}" in contents]
            if same:
                problems.add(where, f"{point.label!r} makes the same trials as {same[0]!r}; remove one")
            elif point.label in labels:
                problems.add(where, f"two entries make the label {point.label!r}; rename one")
            contents |= {f"{of}:{content}": point.label for of in use.of or ("",)}
            labels.add(point.label)
