"""Hand-made trials of the Lipsum-FT paper's protocol, as a sweep of benchmarks.yaml would have left them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from orchestrator.records import Results
from orchestrator.spec import DataRef, ModelRef, PlannedTrial, TrialSpec, trial_id
from orchestrator.trials.outcomes import write_predictions
from orchestrator.views import views
from tests.orchestrator.outcome_factory import agree, guesses
from tests.orchestrator.record_factory import Folder
from training.config import Recipe

COUNTS = dict(views()["lipsum-table-1"].panels[0].protocol.num_images)
CAR_FT = {"strength": 1.0, "loss": "kld", "text": "context"}
LIPSUM_FT = {"strength": 1.0, "num_texts": 80, "token_length": 8}


def folder(
    benchmark: str = "lipsum_table_9_domainnet", dataset: str = "domainnet", domains: Sequence[str] = tuple(COUNTS)
) -> Folder:
    """An empty folder of results."""
    return Folder(benchmark=benchmark, dataset=dataset, domains=tuple(domains))


def trial(
    results: Folder,
    method: str,
    seed: int = 0,
    settings: Mapping[str, object] | None = None,
    inputs: Sequence[str] = (),
    benchmark: str = "",
    data: Mapping[str, object] | None = None,
    recipe: Mapping[str, object] | None = None,
    **fields: object,
) -> PlannedTrial:
    """Plan a trial by the paper's protocol, but for what is given."""
    kind = "reference" if method == "zero_shot" else "post_hoc" if inputs else "trained"
    sources = () if kind == "reference" else ("real",)
    where = {"sources": sources, "targets": results.domains, "val_fraction": 0.01, **(data or {})}
    spec = {
        "recipe": Recipe(**{"num_steps": 5000, **(recipe or {})}) if kind == "trained" else None,
        "selection": "reference_test" if kind == "trained" else None,
        **fields,
    }
    made = TrialSpec(
        method=method,
        settings=dict(settings or {}),
        data=DataRef(name=results.dataset, identity="5f" * 32, **where),
        model=ModelRef(name="ViT-B-16-quickgelu", weights="tag:openai"),
        seed=seed,
        inputs=tuple(inputs),
        **spec,
    )
    planned = results.trial(f"{method} {len(results.plan)}")
    planned = planned.model_copy(update={"id": trial_id(made), "spec": made, "kind": kind, "model": "vit_b16"})
    results.plan[-1] = planned.model_copy(update={"benchmark": benchmark or results.benchmark})
    return results.plan[-1]


def done(
    results: Folder,
    planned: PlannedTrial,
    accuracy: Sequence[float] | Mapping[str, Sequence[float]],
    parameters: Mapping[str, Mapping[str, float]] | None = None,
    counts: Mapping[str, int] = COUNTS,
) -> None:
    """Record a trial as completed, with the published numbers of test images."""
    record = results.done(planned, accuracy, parameters)
    evaluations = tuple(e.model_copy(update={"num_images": counts.get(e.domain, 1000)}) for e in record.evaluations)
    results.records[record.id] = record.model_copy(update={"evaluations": evaluations})


def outcomes(results: Results, planned: PlannedTrial, rate: float, num_images: int = 400) -> None:
    """Leave per-image outcomes of a trial."""
    rng = np.random.default_rng(planned.spec.seed)
    found = {}
    for domain in planned.spec.data.targets:
        labels = np.arange(num_images) % 10
        right = rng.random(num_images) < rate
        found["", domain, "test"] = guesses([f"{domain}/{i}" for i in range(num_images)], labels, right)
    write_predictions(results.trial(planned.id) / "predictions.parquet", found)


def write(results: Folder, root: Path, plans: bool = True) -> Path:
    """The folder on disk; trials of several benchmarks get a plan each. Records agree with the outcomes that are there."""
    for name in dict.fromkeys(t.benchmark for t in results.plan):
        own = replace(results, benchmark=name, plan=[t for t in results.plan if t.benchmark == name])
        own.write(root, plans)
    for trial in results.plan:
        agree(Results(root), trial.id)
    return root
