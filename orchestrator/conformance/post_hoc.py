"""Promises of a method that is derived from finished trials. That it sees no test data, its inputs' type says: they have none."""

from __future__ import annotations

import math

import torch

from orchestrator.conformance.candidate import Candidate, differing, logits, require, some


def derives(candidate: Candidate) -> None:
    """At least one predictor, each with a name of its own."""
    ground = candidate.ground
    variants, _, outputs = candidate.first
    require(bool(variants), "`derive` gives nothing", "return at least one Variant")
    names = [variant.name for variant in variants]
    twice = sorted({name for name in names if names.count(name) > 1})
    require(not twice, f"variants share the name {some(twice)!r}", "name each by what sets it apart, like 'alpha=0.5'")
    for variant in variants:
        wrong = [key for key, value in variant.parameters.items() if not math.isfinite(value)]
        require(not wrong, f"{variant.name!r} has no finite {some(wrong)}", "parameters are finite numbers")
    shape = (len(ground.bench.val), len(ground.prepared.classnames))
    for name, value in outputs.items():
        require(value.shape == shape, f"{name!r} gives {tuple(value.shape)} for {shape}", "a predictor gives (B, K)")
        require(bool(torch.isfinite(value).all()), f"{name!r} gives logits that are not finite", "check its weights")


def inputs(candidate: Candidate) -> None:
    """Inputs belong to other trials."""
    ground = candidate.ground
    _, after, _ = candidate.first
    wrong = [id for id, state in after.items() if differing(ground.finetuned[id], state)]
    require(not wrong, f"it changed the weights of {some(wrong)}", "compute new tensors, never in place")
    text = differing(ground.text, ground.bench.clip.text.state_dict())
    require(not text, "the shared text tower has changed", "work on copies")


def again(candidate: Candidate) -> None:
    """The same inputs give the same predictors."""
    _, _, first = candidate.first
    variants, _ = candidate.derive()
    second = logits(candidate.ground.bench, variants)
    require(list(first) == list(second), "other variants the second time", "derive nothing from chance or order")
    wrong = differing(first, second)
    require(not wrong, f"{some(wrong)!r} gives other logits the second time", "seed what is random from inputs.seed")
