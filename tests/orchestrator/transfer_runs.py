"""Trials that are measured on datasets beside their own, each run once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from datasets.shards import Prepared, write_prepared
from datasets.stream import EvalStream, samples
from datasets.transforms import EvalTransform
from orchestrator.conformance.tiny import Blobs
from orchestrator.records import Results, TrialRecord
from orchestrator.spec import PlannedTrial, TransferRef, trial_id
from orchestrator.trials.trial import run_trial
from tests.datasets.conftest import cache  # noqa: F401
from tests.orchestrator.trials import planned
from training.evaluate import Normalise
from training.model import PretrainedClip, TextEncoder
from training.runtime import Runtime

CPU = torch.device("cpu")


class Shades(Blobs):
    info = replace(
        Blobs.info,
        name="shades",
        domains=("disc", "ring"),
        classnames=("dark", "bright", "pale", "murky"),
        templates=("a {} shade.", "{}."),
        counts={d: {"train": 4, "test": 9} for d in ("disc", "ring")},
    )


class Plain(Blobs):
    info = replace(Blobs.info, name="plain", domains=("box",), counts={"box": {"train": 3, "test": 6}})


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Prepared]:
    folder = tmp_path_factory.mktemp("transfer")
    return {d.info.name: write_prepared(d, folder / d.info.name, source=None) for d in (Shades(), Plain())}


def with_transfer(trial: PlannedTrial, others: dict[str, Prepared]) -> PlannedTrial:
    refs = tuple(TransferRef(name=n, identity=p.identity, domains=p.domains) for n, p in others.items())
    data = trial.spec.data.model_copy(update={"transfer": refs})
    spec = trial.spec.model_copy(update={"data": data})
    places = {name: prepared.root for name, prepared in others.items()}
    location = trial.location.model_copy(update={"transfer": places})
    return trial.model_copy(update={"spec": spec, "id": trial_id(spec), "location": location})


class Runs:
    """Runs trials with transfer, each once for the module: later ones build on them."""

    def __init__(self, blobs: Prepared, config: Path, others: dict[str, Prepared], folder: Path) -> None:
        self.blobs, self.config, self.others, self.results = blobs, config, others, Results(folder)
        self.done: dict[str, TrialRecord] = {}

    def trial(self, method: str, **changes: Any) -> PlannedTrial:
        return with_transfer(planned(self.blobs, self.config, method, **changes), self.others)

    def __call__(self, method: str, **changes: Any) -> TrialRecord:
        trial = self.trial(method, **changes)
        if trial.id not in self.done:
            if plugins := changes.get("plugins"):
                update = {"plugins": tuple(map(str, plugins))}
                trial = trial.model_copy(update={"location": trial.location.model_copy(update=update)})
            self.done[trial.id] = run_trial(trial, self.results, Runtime(), attempt=1)
        return self.done[trial.id]


@pytest.fixture(scope="module")
def runs(
    blobs: Prepared, tiny_config: Path, others: dict[str, Prepared], tmp_path_factory: pytest.TempPathFactory
) -> Runs:
    return Runs(blobs, tiny_config, others, tmp_path_factory.mktemp("results"))


def transferred(record: TrialRecord, variant: str = "") -> dict[str, tuple[int, float]]:
    """Place -> (images, NLL)."""
    rows = [e for e in record.evaluations if e.variant == variant and e.domain not in ("disc", "box", "ring")]
    assert all(row.split == "test" for row in rows)
    return {row.domain: (row.num_images, row.nll) for row in rows}


def by_hand(
    clip: PretrainedClip, visual: torch.nn.Module, text: TextEncoder, scale: float, prepared: Prepared, domain: str
) -> float:
    """The mean NLL, from the formula and without anything of `orchestrator`."""
    columns = []
    for name in prepared.classnames:
        raw = text.encode(text.tokenizer([template.format(name) for template in prepared.templates]))
        columns.append(torch.nn.functional.normalize(raw.mean(dim=0), dim=0))
    head = torch.stack(columns, dim=1)
    total, count = 0.0, 0
    normalise = Normalise(clip.mean, clip.std, CPU)
    for raw in EvalStream(samples=samples(prepared, domain, "test"), transform=EvalTransform("lipsum", 32)):
        batch = normalise(raw)
        with torch.no_grad():
            features = torch.nn.functional.normalize(visual(batch.images), dim=-1)
        total += float(torch.nn.functional.cross_entropy(scale * features @ head, batch.labels, reduction="sum"))
        count += len(batch.labels)
    return total / count
