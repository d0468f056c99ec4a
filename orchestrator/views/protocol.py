"""In what a trial differs from the protocol of a published value. No ray, no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orchestrator.records import TrialRecord
from orchestrator.spec import TrialSpec
from orchestrator.views.spec import Panel, Protocol, Row

RECIPE_KEYS = (
    *("optimizer", "lr", "beta1", "beta2", "eps", "weight_decay", "warmup_fraction", "num_steps", "global_batch_size"),
    *("eval_every", "grad_clip", "label_smoothing", "crop_scale", "flip", "balance_domains", "freeze_head"),
)
PREPROCESSING = {
    "lipsum": "a central crop of 87.5 %",
    "openai": "the short side resized, then cropped",
}


def differences(
    spec: TrialSpec, record: TrialRecord | None, panel: Panel, row: Row, any_recipe: bool = False
) -> Iterator[str]:
    """A line for everything in which a trial is not comparable with the panel's published values.

    `any_recipe`: the recipe does not matter (an ingredient of a soup, which are meant to differ).
    """
    protocol = panel.protocol
    if protocol.unknown:
        yield protocol.unknown
    if row.differs:
        yield row.differs
    yield from _data(spec, record, protocol)
    if spec.preprocessing != protocol.preprocessing:
        here, there = (PREPROCESSING[name] for name in (spec.preprocessing, protocol.preprocessing))
        yield f"preprocessing: {here} ({spec.preprocessing}); published: {there}"
    if protocol.weights and spec.model.weights not in protocol.weights:
        yield f"weights: {spec.model.weights}; published: {protocol.weights[0].removeprefix('tag:')}"
    if spec.recipe is not None:
        yield from _training(spec, protocol)
        if not any_recipe and not row.any_recipe:
            yield from _recipe(spec.recipe.model_dump(mode="json"), {**protocol.recipe, **row.recipe})


def _data(spec: TrialSpec, record: TrialRecord | None, protocol: Protocol) -> Iterator[str]:
    if spec.data.class_names != protocol.class_names:
        yield f"class names: {spec.data.class_names}; published: {protocol.class_names}"
    if spec.data.target_split != protocol.target_split:
        yield f"targets are measured on the split {spec.data.target_split!r}; published: {protocol.target_split!r}"
    measured = {e.domain: e.num_images for e in record.evaluations if e.split == "test"} if record else {}
    for domain, count in protocol.num_images.items():
        if measured.get(domain, count) != count:
            yield (
                f"dataset revision: {measured[domain]:,} test images of {domain}; published: {count:,} "
                f"({protocol.dataset}, {protocol.what})"
            )


def _training(spec: TrialSpec, protocol: Protocol) -> Iterator[str]:
    if spec.selection != protocol.selection:
        yield f"selection: {spec.selection}; published: {protocol.selection}"
    if spec.data.val_fraction > protocol.max_held_out and protocol.target_split == "test":
        yield f"val split: {100 * spec.data.val_fraction:g} % of the training images are held out; published: none"


def _recipe(ours: dict[str, Any], published: dict[str, Any]) -> Iterator[str]:
    # Without weight decay Adam and AdamW are the same.
    same = {"optimizer"} if ours["weight_decay"] == published.get("weight_decay") == 0 else set()
    for key in (key for key in RECIPE_KEYS if key not in same):
        here, there = ours[key], published.get(key)
        if key in published and list_like(here) != list_like(there):
            yield f"recipe.{key}: {here}; published: {there}"


def list_like(value: Any) -> Any:
    """Tuples as lists, for comparison with what came from JSON."""
    return list(value) if isinstance(value, tuple) else value
