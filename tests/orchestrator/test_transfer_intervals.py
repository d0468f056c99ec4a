"""Intervals of accuracies on datasets that nothing was trained on."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from orchestrator.analysis.statistics import PairedBootstrap
from orchestrator.records import Evaluation, Results
from orchestrator.report import build_report
from orchestrator.spec import PlannedTrial, TransferRef, trial_id
from orchestrator.trials.outcomes import write_predictions
from tests.orchestrator.record_factory import DOMAINS, Folder
from training.evaluate import Outcomes

PLACES = ("birds", "cars")
IMAGES = 400
RATES = {"zero_shot": 0.5, "ft": 0.7, "headless": 0.6}


class Transferred(Folder):
    """Trials that were evaluated on two datasets besides their own."""

    def trial(self, label: str, seed: int = 0, **options: object) -> PlannedTrial:
        made = super().trial(label, seed, **options)  # type: ignore[arg-type]
        refs = tuple(TransferRef(name=name, identity="0d" * 32, domains=("all",)) for name in PLACES)
        spec = made.spec.model_copy(update={"data": made.spec.data.model_copy(update={"transfer": refs})})
        self.plan[-1] = made.model_copy(update={"spec": spec, "id": trial_id(spec)})
        return self.plan[-1]


def write(root: Path) -> dict[str, list[np.ndarray]]:
    """Results with outcomes everywhere, but `headless` has none of transfer; returns those of `birds` by label."""
    folder, rng = Transferred(), np.random.default_rng(3)
    trials = [folder.trial("zero_shot", kind="reference")]
    trials += [folder.trial(label, seed) for label in ("ft", "headless") for seed in (0, 1)]
    kept: dict[str, list[np.ndarray]] = {}
    outcomes = {}
    for trial in trials:
        places = DOMAINS if trial.label == "headless" else (*DOMAINS, *PLACES)
        right = {place: rng.random(IMAGES) < RATES[trial.label] for place in places}
        record = folder.done(trial, (50,) * 5)
        evaluations = tuple(
            Evaluation(
                domain=place,
                split="test",
                num_images=IMAGES,
                num_correct=int(found.sum()),
                accuracy=float(found.mean()),
                nll=1.0,
            )
            for place, found in right.items()
        )
        folder.records[trial.id] = record.model_copy(update={"evaluations": evaluations})
        outcomes[trial.id] = {("", place, "test"): _outcomes(place, found) for place, found in right.items()}
        if "birds" in right:
            kept.setdefault(trial.label, []).append(right["birds"])
    results = Results(folder.write(root))
    for id, found in outcomes.items():
        write_predictions(results.trial(id) / "predictions.parquet", found)
    return kept


def _outcomes(place: str, right: np.ndarray) -> Outcomes:
    labels = np.arange(IMAGES) % 10
    return Outcomes(
        keys=tuple(f"{place}/{i}" for i in range(IMAGES)),
        labels=labels,
        predictions=np.where(right, labels, (labels + 1) % 10),
        confidences=np.full(IMAGES, 0.9, np.float32),
        nlls=np.full(IMAGES, 0.5, np.float32),
        briers=np.full(IMAGES, 0.3, np.float32),
    )


def test_columns_of_transfer_have_the_bootstraps_intervals_and_a_row_without_heads_takes_none_away(
    tmp_path: Path,
) -> None:
    birds = write(tmp_path)
    html, *_, rows = build_report(tmp_path)
    with rows.open(encoding="utf-8", newline="") as file:
        lines = {(line["row"], line["quantity"]): line for line in csv.DictReader(file)}
    both = np.stack([np.broadcast_to(birds["zero_shot"][0], (2, IMAGES)), np.stack(birds["ft"])])
    expected = PairedBootstrap({"birds": both})
    for place, name in enumerate(("zero_shot", "ft")):
        found = expected.accuracy(place, ["birds"])
        line = lines[name, "transfer to birds"]
        assert [float(line[key]) for key in ("mean", "low", "high")] == pytest.approx(
            [found.value, found.low, found.high]
        )
        assert found.low < float(lines[name, "transfer to birds"]["mean"]) < found.high
    assert lines["headless", "transfer to birds"]["low"] == ""
    assert lines["headless", "shift mean"]["low"] != "", "its other intervals are there"
    assert lines["ft", "transfer mean"]["low"] != ""
    shown = float(lines["ft", "transfer to birds"]["low"])
    assert f'title="95 % [{100 * shown:.1f}, ' in html.read_text(encoding="utf-8")
