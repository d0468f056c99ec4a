"""Hand-made per-image outcomes beside hand-made records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orchestrator.analysis.outcome_file import Block
from orchestrator.analysis.read_ahead import read_blocks
from orchestrator.records import Evaluation, Results, read_record, write_record
from orchestrator.spec import PlannedTrial
from orchestrator.trials.outcomes import write_predictions
from tests.orchestrator.record_factory import DOMAINS, NUM_IMAGES, Folder
from training.evaluate import Outcomes


def write_results(root: Path, rates: Mapping[str, float]) -> Results:
    """Zero-shot, two trained methods of three seeds, and a soup of one of them; `rates`: label -> share that is right."""
    folder, rng = Folder(), np.random.default_rng(0)
    trials = [folder.trial("zero_shot", kind="reference")]
    trials += [folder.trial(label, seed) for label in ("ft", "better") for seed in (0, 1, 2)]
    ingredients = [t.id for t in trials if t.label == "ft"]
    trials.append(folder.trial("soup", kind="post_hoc", of="ft", inputs=ingredients))
    for trial in trials:
        folder.done(trial, (50.0,) * 5)
    results = Results(folder.write(root))
    for trial in trials:
        write_outcomes(results, trial, rates.get(trial.label, 0.6), rng)
    return results


def write_outcomes(
    results: Results, trial: PlannedTrial, rate: float, rng: np.random.Generator, keys: str = "k"
) -> None:
    """Outcomes of ten classes on all domains; class 0 is always wrong for `ft`."""
    outcomes = {}
    for domain in DOMAINS:
        labels = np.arange(NUM_IMAGES) % 10
        right = rng.random(NUM_IMAGES) < rate
        if trial.label == "ft":
            right &= labels != 0
        outcomes["", domain, "test"] = guesses([f"{domain}/{keys}{i}" for i in range(NUM_IMAGES)], labels, right)
    leave(results, trial.id, outcomes)


def leave(results: Results, trial: str, outcomes: Mapping[tuple[str, str, str], Outcomes]) -> None:
    """Write outcomes of a trial, and into its record how many of them are right, if it has one."""
    write_predictions(results.trial(trial) / "predictions.parquet", outcomes)
    agree(results, trial)


def agree(results: Results, trial: str) -> None:
    """Write into a record how many of its outcomes are right, where there are both."""
    path = results.trial(trial) / "predictions.parquet"
    if not path.exists() or not results.record(trial).exists():
        return
    record, found = read_record(results.record(trial)), read_blocks(results, trial)
    evaluations = tuple(
        _agreeing(e, found[key]) if (key := (e.variant, e.domain, e.split)) in found else e for e in record.evaluations
    )
    write_record(results, record.model_copy(update={"evaluations": evaluations}))


def _agreeing(e: Evaluation, of: Block) -> Evaluation:
    right, count = int(of.correct.sum()), len(of.labels)
    return e.model_copy(update={"num_images": count, "num_correct": right, "accuracy": right / count})


def guesses(keys: Sequence[str], labels: NDArray[np.int64], right: NDArray[np.bool_]) -> Outcomes:
    """What a predictor of ten classes says that is 90 % sure of everything; where it is not right, of the next class."""
    count = len(labels)
    return Outcomes(
        keys=tuple(keys),
        labels=labels,
        predictions=np.where(right, labels, (labels + 1) % 10),
        confidences=np.full(count, 0.9, np.float32),
        nlls=np.full(count, 0.5, np.float32),
        briers=np.full(count, 0.3, np.float32),
    )
