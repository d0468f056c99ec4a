"""What training cost: of one trial from its record, and of a row for each seed. Pure functions; no ray, no torch.

`docs/metrics.md` has the definitions and units.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.analysis.grid import Outcome
from orchestrator.analysis.series import Series, combine
from orchestrator.records import TrialRecord

Pick = Callable[[TrialRecord], float | None]


@dataclass(frozen=True, slots=True)
class Cost:
    """One of the numbers that say what training cost."""

    name: str
    """column of the CSV"""
    words: str
    """'images/s'"""
    of: Pick
    """of a trial's record; None where nothing trained or an early record does not say"""
    join: Callable[[Sequence[float]], float]
    """over the folds that make up a row"""


def train_seconds(record: TrialRecord) -> float | None:
    """Wall seconds of steps and of `setup`, in which some methods do all of their fitting; None where nothing trained."""
    stages = [record.seconds[stage] for stage in ("setup", "train") if stage in record.seconds]
    return math.fsum(stages) if stages else None


def gpu_hours(record: TrialRecord) -> float | None:
    """What training took of GPUs; None on CPUs, without training and where the record does not say."""
    seconds, environment = train_seconds(record), record.environment
    if seconds is None or environment is None or environment.device == "cpu":
        return None
    return seconds * environment.num_workers / 3600


def images_per_second(record: TrialRecord) -> float | None:
    """Training images over the seconds of steps, all workers together; None without steps."""
    seconds = record.seconds.get("train", 0.0)
    return record.images_seen / seconds if seconds and record.images_seen else None


def images_encoded(record: TrialRecord) -> int | None:
    """Images through any image encoder; None for a record of before they were counted: no training encodes none."""
    return record.images_encoded or None


def texts_seen(record: TrialRecord) -> int | None:
    """Texts encoded in steps, 0 for a method without a text tower; None for a record of before they were counted."""
    return record.texts_seen if record.texts_seen or record.images_encoded else None


def passes_per_image(record: TrialRecord) -> float | None:
    """Forward passes of image encoders that a training image costs: 1 for plain fine-tuning, more with teachers."""
    return record.images_encoded / record.images_seen if record.images_encoded and record.images_seen else None


def peak_memory(record: TrialRecord) -> int | None:
    """Bytes, of a trial that trained; None where the record does not say."""
    return None if train_seconds(record) is None else record.peak_memory_bytes


COSTS = (
    Cost("train_seconds", "training seconds", train_seconds, math.fsum),
    Cost("gpu_hours", "GPU-hours", gpu_hours, math.fsum),
    Cost("images_per_second", "images/s", images_per_second, min),
    Cost("images_encoded", "images encoded", images_encoded, math.fsum),
    Cost("texts_seen", "texts encoded", texts_seen, math.fsum),
    Cost("peak_memory_bytes", "peak memory, bytes", peak_memory, max),
)
"""In the order in which they are shown. Of several folds: together, the slowest, the most."""


def costs(outcomes: Sequence[Outcome]) -> dict[str, Series]:
    """By name what each seed of a row cost."""
    return {cost.name: _cost(outcomes, cost.of) for cost in COSTS}


def joined_costs(folds: Sequence[Mapping[str, Series]]) -> dict[str, Series]:
    """Of the folds of a row together, seed by seed."""
    return {cost.name: combine(cost.join, *(of_fold[cost.name] for of_fold in folds)) for cost in COSTS}


def _cost(outcomes: Sequence[Outcome], pick: Pick) -> Series:
    """Of each seed of a trained row; post-hoc rows cost what they build on, which has a row of its own."""
    if not outcomes or outcomes[0].trial.kind != "trained":
        return Series({}, absent="nothing is trained")
    if len({o.trial.spec.seed for o in outcomes}) < len(outcomes):
        return Series({}, absent="several trials share a seed")
    values: dict[int, float] = {}
    missing: dict[int, str] = {}
    for o in outcomes:
        value = pick(o.record) if o.status == "done" and o.record is not None else None
        if value is None:
            missing[o.trial.spec.seed] = o.reason or "not recorded"
        else:
            values[o.trial.spec.seed] = value
    return Series(values, missing)
