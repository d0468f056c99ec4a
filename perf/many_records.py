"""Records and per-image outcomes of a sweep that nobody ran, as large as asked for: what `perf.report` reads.

Numbers are drawn at random around a rate of each method and seed; a report takes as long whatever they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orchestrator.records import Environment, Evaluation, Results, Split, TracePoint, TrialRecord, write_plan
from orchestrator.spec import BenchmarkPlan, DataRef, Kind, Location, ModelRef, PlannedTrial, TrialSpec, trial_id
from orchestrator.trials.outcomes import write_predictions
from training.config import Recipe
from training.evaluate import Outcomes

ALPHAS = (0.25, 0.5, 0.75)
NUM_CLASSES = 100
ENVIRONMENT = Environment(
    python="3.11.7",
    packages={"torch": "2.15.0", "open_clip_torch": "3.3.0", "numpy": "2.4.6"},
    git_commit="0123456789abcdef0123456789abcdef01234567",
    git_dirty=False,
    device="NVIDIA A100-SXM4-80GB",
    num_workers=1,
    platform="Linux-x86_64",
)


@dataclass(frozen=True)
class Sweep:
    """Its size; trials: models x (1 + sources x seeds x methods)."""

    models: int
    sources: int
    """every domain of the benchmark is a source in turn"""
    methods: int
    """trained ones and, as the last, interpolations of three alphas of the first"""
    seeds: int
    images: int
    """of the test split of each domain"""

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains, at least two."""
        return tuple(f"domain{index}" for index in range(max(2, self.sources)))

    def plan(self) -> BenchmarkPlan:
        """All trials."""
        return BenchmarkPlan(
            benchmark="many",
            description="random numbers",
            manifest="/elsewhere/benchmarks.yaml",
            dataset="many",
            dataset_title="Many",
            domains=self.domains,
            classnames=tuple(f"class {index}" for index in range(NUM_CLASSES)),
            baseline="method0",
            trials=tuple(self._trials()),
        )

    def _trials(self) -> Iterator[PlannedTrial]:
        for model in range(self.models):
            yield self._trial(model, "untrained", "reference")
            for source in self.domains[: self.sources]:
                for seed in range(self.seeds):
                    trained = [
                        self._trial(model, f"method{number}", "trained", source, seed)
                        for number in range(self.methods - 1)
                    ]
                    yield from trained
                    yield self._trial(model, "wise", "post_hoc", source, seed, trained[0])

    def _trial(
        self, model: int, label: str, kind: Kind, source: str = "", seed: int = 0, of: PlannedTrial | None = None
    ) -> PlannedTrial:
        sources = (source,) if source else ()
        spec = TrialSpec(
            method=label,
            settings={"alphas": list(ALPHAS)} if of else {"strength": 5.0, "num_texts": 80},
            data=DataRef(
                name="many",
                identity="5f" * 32,
                sources=sources,
                targets=(*sources, *(domain for domain in self.domains if domain != source)),
            ),
            model=ModelRef(name=f"model{model}", weights=f"sha256:{model:064d}"),
            recipe=Recipe(num_steps=5000) if kind == "trained" else None,
            selection="reference_val" if kind == "trained" else None,
            seed=seed,
            inputs=(of.id,) if of else (),
        )
        return PlannedTrial(
            id=trial_id(spec),
            spec=spec,
            location=Location(data="data/many", pretrained="tag"),
            benchmark="many",
            label=label,
            of=of.label if of else None,
            model=f"model{model}",
            kind=kind,
        )


def write_sweep(root: Path, sweep: Sweep) -> int:
    """Write plan, records, outcomes and logs as a sweep leaves them; returns the number of trials."""
    results, plan = Results(root), sweep.plan()
    write_plan(results, plan)
    for number, trial in enumerate(plan.trials):
        outcomes = dict(_outcomes(sweep, trial, np.random.default_rng(number)))
        folder = results.trial(trial.id)
        folder.mkdir(parents=True)
        if sweep.images:
            write_predictions(folder / "predictions.parquet", outcomes)
        (folder / "log.txt").write_text("".join(f"step {step}: loss 0.5\n" for step in range(0, 5000, 500)))
        record = _record(trial, outcomes)
        # Not `write_record`, which waits for the disk after each.
        (folder / "record.json").write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return len(plan.trials)


def _outcomes(
    sweep: Sweep, trial: PlannedTrial, rng: np.random.Generator
) -> Iterator[tuple[tuple[str, str, Split], Outcomes]]:
    count = sweep.images or 100
    variants = [f"alpha={alpha}" for alpha in ALPHAS] if trial.kind == "post_hoc" else [""]
    labels = np.arange(count) % NUM_CLASSES
    for variant in variants:
        for domain in trial.spec.data.targets:
            right = rng.random(count) < 0.6 + 0.2 * np.tanh(rng.normal(0, 0.2))
            yield (
                (variant, domain, "test"),
                Outcomes(
                    keys=tuple(f"{domain}/image-{index:06d}" for index in range(count)),
                    labels=labels,
                    predictions=np.where(right, labels, (labels + 1) % NUM_CLASSES),
                    confidences=rng.uniform(0.3, 1.0, count).astype(np.float32),
                    nlls=rng.exponential(1.0, count).astype(np.float32),
                    briers=rng.uniform(0.0, 1.0, count).astype(np.float32),
                ),
            )


def _record(trial: PlannedTrial, outcomes: dict[tuple[str, str, Split], Outcomes]) -> TrialRecord:
    evaluations = []
    for (variant, domain, split), of in outcomes.items():
        right = of.predictions == of.labels
        evaluations.append(
            Evaluation(
                variant=variant,
                domain=domain,
                split=split,
                num_images=len(right),
                num_correct=int(right.sum()),
                accuracy=float(right.mean()),
                nll=float(of.nlls.mean()),
                class_accuracy=float(right.mean()),
                ece=0.1,
                brier=float(of.briers.mean()),
                energy_gap=1.0,
                energy_gap_absolute=0.8,
                feature_distortion=0.2,
                feature_distortion_raw=2.0,
            )
        )
    trained = trial.kind == "trained"
    steps = range(500, 5001, 500) if trained else ()
    return TrialRecord(
        id=trial.id,
        spec=trial.spec,
        status="completed",
        evaluations=tuple(evaluations),
        variants={f"alpha={alpha}": {"alpha": alpha} for alpha in ALPHAS} if trial.kind == "post_hoc" else {},
        selected_step=5000 if trained else None,
        trace=tuple(TracePoint(step=step, split="val", accuracy=0.7, nll=1.0) for step in steps),
        seconds={"load": 1.0, "train": 600.0, "evaluate": 20.0} if trained else {"load": 1.0, "evaluate": 20.0},
        images_seen=64 * 5000 if trained else 0,
        peak_memory_bytes=8 * 2**30,
        environment=ENVIRONMENT,
        started_at="2026-01-02T03:00:00+00:00",
        finished_at="2026-01-02T04:00:00+00:00",
    )
