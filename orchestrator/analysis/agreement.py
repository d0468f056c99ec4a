"""Whether copies of a completed trial, or plans of one benchmark, that several folders hold agree. No ray, no torch."""

from __future__ import annotations

import filecmp
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from orchestrator.analysis.outcome_file import Block, Place, check_of_record, counted, counts_of
from orchestrator.analysis.predictions import PredictionsError
from orchestrator.analysis.read_ahead import read_blocks
from orchestrator.records import Evaluation, Results, TrialRecord
from orchestrator.spec import BenchmarkPlan

Of = TypeVar("Of")
MEASURES = (
    *("class_accuracy", "ece", "brier"),
    *("energy_gap", "energy_gap_absolute", "feature_distortion", "feature_distortion_raw"),
)
"""Of an evaluation. What early records lack is no disagreement; nor is the order in which a sum was taken, within CLOSE."""
CLOSE = 1e-6
PLAN_FACTS = ("dataset", "domains", "leave_one_out", "seen_unseen")
"""Fields in which plans of one benchmark must agree: with others a table would mean something else."""


def has_outcomes(results: Results, id: str) -> bool:
    """Whether a trial has a file of per-image outcomes."""
    return _outcomes(results, id).exists()


def unusable_outcomes(results: Results, record: TrialRecord) -> str:
    """Why the per-image outcomes of a completed trial are not those of its record; '' if they are, or there are none."""
    if not has_outcomes(results, record.id):
        return ""
    recorded = counts_of(record)
    try:
        for place, block in read_blocks(results, record.id).items():
            check_of_record(record.id, place, counted(block.correct), recorded.get(place))
    except PredictionsError as error:
        return str(error)
    return ""


def records_differ(one: TrialRecord, two: TrialRecord) -> str:
    """Where two completed records of a trial disagree, in words; what they took and where they ran may differ."""
    return _places_differ(_by_place(one), _by_place(two), "only one of them was evaluated", _evaluations_differ)


def _by_place(record: TrialRecord) -> dict[Place, Evaluation]:
    return {(e.variant, e.domain, e.split): e for e in record.evaluations}


def _evaluations_differ(a: Evaluation, b: Evaluation) -> str:
    if a.num_images != b.num_images:
        return f"{a.num_images} and {b.num_images} images"
    if a.num_correct != b.num_correct:
        return f"{a.num_correct} and {b.num_correct} of {a.num_images} images right"
    if a.nll != b.nll:
        return f"NLL {a.nll!r} and {b.nll!r}"
    for name in MEASURES:
        x, y = getattr(a, name), getattr(b, name)
        if x is not None and y is not None and not math.isclose(x, y, rel_tol=CLOSE, abs_tol=CLOSE):
            return f"{name} {x!r} and {y!r}"
    return ""


def outcomes_differ(one: Results, two: Results, id: str) -> str:
    """Where the per-image outcomes of a trial in two folders disagree, in words. Both can be read; '' if one has none."""
    here, there = _outcomes(one, id), _outcomes(two, id)
    if not (here.exists() and there.exists()) or filecmp.cmp(here, there, shallow=False):
        return ""
    return _places_differ(read_blocks(one, id), read_blocks(two, id), "only one of them has outcomes", _blocks_differ)


def _places_differ(
    one: Mapping[Place, Of], two: Mapping[Place, Of], lacking: str, differ: Callable[[Of, Of], str]
) -> str:
    """The first place, by name, where two folders disagree, and how; `lacking`: what to say of one that only one has."""
    for place in sorted({*one, *two}):
        differing = differ(one[place], two[place]) if place in one and place in two else lacking
        if differing:
            return f"{differing} on {_name(*place)}"
    return ""


def _blocks_differ(a: Block, b: Block) -> str:
    if not a.same_images(b):
        return "other images"
    if changed := int(np.count_nonzero(a.correct != b.correct)):
        return f"other outcomes of {changed:,} of {len(a.correct):,} images"
    if not (np.allclose(a.confidences, b.confidences, atol=CLOSE) and np.allclose(a.nlls, b.nlls, atol=CLOSE)):
        return "other confidences"
    return ""


def plans_differ(one: BenchmarkPlan, two: BenchmarkPlan) -> str:
    """Where two plans of one benchmark cannot be one, in words."""
    for key in PLAN_FACTS:
        if getattr(one, key) != getattr(two, key):
            return f"{key}: {getattr(one, key)} and {getattr(two, key)}"
    return next(_class_names_differ(one, two), "")


def _class_names_differ(one: BenchmarkPlan, two: BenchmarkPlan) -> Iterator[str]:
    """Plans of older versions have no names."""
    if one.classnames and two.classnames and one.classnames != two.classnames:
        pairs = zip(one.classnames, two.classnames, strict=False)
        first = next((f"{a!r} and {b!r}" for a, b in pairs if a != b), "their number")
        yield f"names of classes: {first}"


def _outcomes(results: Results, id: str) -> Path:
    return results.trial(id) / "predictions.parquet"


def _name(variant: str, domain: str, split: str) -> str:
    return " ".join(filter(None, (variant, f"{domain}/{split}")))
