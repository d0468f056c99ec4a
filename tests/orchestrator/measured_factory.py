"""Records and per-image outcomes that belong together: what is recorded is computed from the outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path

import numpy as np

from orchestrator.analysis.metrics import expected_calibration_error
from orchestrator.records import Evaluation, Results
from orchestrator.spec import PlannedTrial
from orchestrator.trials.outcomes import write_predictions
from tests.orchestrator.record_factory import Folder
from training.evaluate import Outcomes

Place = tuple[str, str]
"""domain, split"""
NUM_CLASSES = 10


class Measured(Folder):
    """A folder of results in which a trial is right about its images at a rate of its own, and has something to say."""

    def __init__(self, *, num_images: Mapping[Place, int], **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.num_images = num_images
        self.outcomes: dict[str, dict[tuple[str, str, str], Outcomes]] = {}
        self.rng = np.random.default_rng(0)

    def evaluate(self, trial: PlannedTrial, places: Iterable[Place], rate: float) -> None:
        """Guesses on these places, and a record of them. Images of a place are as hard for one trial as for another."""
        found = {("", *place): self._guesses(place, rate) for place in places}
        self.measured(trial, dict.fromkeys(((domain, split) for _, domain, split in found), 50.0))
        evaluations = tuple(_evaluation(domain, split, of) for (_, domain, split), of in found.items())
        self.records[trial.id] = self.records[trial.id].model_copy(update={"evaluations": evaluations})
        self.outcomes[trial.id] = found

    def write(self, root: Path, plans: bool = True) -> Path:
        """As ever, with the outcomes."""
        super().write(root, plans)
        for id, found in self.outcomes.items():
            write_predictions(Results(root).trial(id) / "predictions.parquet", found)
        return root

    def _guesses(self, place: Place, rate: float) -> Outcomes:
        count = self.num_images[place]
        hard = np.random.default_rng(sum(map(ord, "".join(place)))).uniform(-0.2, 0.2, count)
        chance = np.clip(rate + self.rng.normal(0, 0.03) + hard, 0.05, 0.95)
        right, labels = self.rng.random(count) < chance, np.arange(count) % NUM_CLASSES
        return Outcomes(
            keys=tuple(f"{place}/{index}" for index in range(count)),
            labels=labels,
            predictions=np.where(right, labels, (labels + 1) % NUM_CLASSES),
            confidences=np.clip(chance + self.rng.uniform(0, 0.3, count), 0.1, 1).astype(np.float32),
            nlls=self.rng.gamma(2.0, np.where(right, 0.1, 1.0)).astype(np.float32),
            briers=np.full(count, 0.3, np.float32),
        )


class Pooled(Measured):
    """`protocol: domainbed`: a domain is one pool, of which each seed holds out other images, and not equally many."""

    def __init__(self, pools: Mapping[str, int]) -> None:
        sizes = {(domain, "pool"): count for domain, count in pools.items()}
        super().__init__(num_images=sizes, domains=tuple(pools), leave_one_out=True, target_split="in")
        self._split = 0

    def evaluate(self, trial: PlannedTrial, places: Iterable[Place], rate: float) -> None:
        """Guesses on the images that the trial's seed leaves for these places."""
        self._split = trial.spec.data.split_seed
        super().evaluate(trial, places, rate)

    def _guesses(self, place: Place, rate: float) -> Outcomes:
        domain, split = place
        of_pool = super()._guesses((domain, "pool"), rate)
        count = len(of_pool.keys)
        order = np.random.default_rng([self._split, count]).permutation(count)
        held_out = count // 5 + 2 * self._split
        own = np.sort(order[:held_out] if split == "val" else order[held_out:])
        return Outcomes(
            keys=tuple(of_pool.keys[index] for index in own),
            labels=of_pool.labels[own],
            predictions=of_pool.predictions[own],
            confidences=of_pool.confidences[own],
            nlls=of_pool.nlls[own],
            briers=of_pool.briers[own],
        )


def domainbed(pools: Mapping[str, int], seeds: Iterable[int] = (0, 1, 2)) -> Pooled:
    """Each domain held out in turn: the zero-shot model with the split of seed 0, two methods with one for each seed."""
    folder = Pooled(pools)
    folder.evaluate(folder.trial("zero_shot", kind="reference"), [(d, s) for d in pools for s in ("test", "val")], 0.5)
    for out, seed, label in product(pools, seeds, ("ft", "kd")):
        sources = tuple(domain for domain in pools if domain != out)
        trial = folder.trial(label, seed, sources=sources)
        places = [(out, "test"), *((domain, "val") for domain in sources)]
        folder.evaluate(trial, places, 0.6 if label == "ft" else 0.64)
    return folder


def _evaluation(domain: str, split: str, of: Outcomes) -> Evaluation:
    return Evaluation(
        domain=domain,
        split=split,
        num_images=len(of.labels),
        num_correct=of.num_correct,
        accuracy=of.accuracy,
        nll=of.nll,
        class_accuracy=of.class_accuracy,
        ece=expected_calibration_error(of.confidences, of.predictions == of.labels),
    )
