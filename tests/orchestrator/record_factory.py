"""Hand-made plans and records: what a sweep would have left in a folder of results, without running one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from orchestrator.records import (
    Environment,
    ErrorInfo,
    Evaluation,
    FailureClass,
    Results,
    TrialRecord,
    write_plan,
    write_record,
)
from orchestrator.spec import BenchmarkPlan, DataRef, Location, ModelRef, PlannedTrial, TrialSpec, trial_id
from training.config import Recipe

DOMAINS = ("real", "painting", "clipart", "infograph", "sketch")
ALPHAS = (0.25, 0.5, 0.75)

# Percent correct on DOMAINS, the kind of numbers the embedded demo gives.
ZERO_SHOT = (55.0, 52.0, 70.0, 50.0, 60.0)
TRAINED = {"ft": (75.0, 45.0, 60.0, 42.0, 52.0), "lipsum_ft": (73.0, 51.0, 68.0, 48.0, 58.0)}
NUM_IMAGES = 1000
"""of every test split, so that tenths of a percent are exact"""


@dataclass
class Folder:
    """What goes into a folder of results, and the means to write it."""

    plan: list[PlannedTrial] = field(default_factory=list)
    records: dict[str, TrialRecord] = field(default_factory=dict)
    benchmark: str = "demo"
    dataset: str = "demo"
    model: str = "tiny"
    domains: tuple[str, ...] = DOMAINS
    target_split: str = "test"
    leave_one_out: bool = False
    seen_unseen: tuple[str, str] | None = None
    baseline: str = "ft"

    def trial(
        self,
        label: str,
        seed: int = 0,
        *,
        sources: Sequence[str] = ("real",),
        kind: str = "trained",
        method: str | None = None,
        of: str | None = None,
        inputs: Sequence[str] = (),
        settings: Mapping[str, object] | None = None,
    ) -> PlannedTrial:
        """Add a planned trial without a record."""
        trained = kind == "trained"
        sources = () if kind == "reference" else tuple(sources)
        spec = TrialSpec(
            method=method or label,
            settings=dict(settings or {}),
            data=DataRef(
                name=self.dataset,
                identity="5f" * 32,
                sources=sources,
                targets=(*sources, *(domain for domain in self.domains if domain not in sources)),
                val_fraction=0.2 if sources else 0.1,
                split_seed=seed if self.target_split == "in" else 0,
                target_split=self.target_split,  # type: ignore[arg-type]
            ),
            model=ModelRef(name="demo_vit", weights="sha256:" + "ab" * 32),
            recipe=Recipe(num_steps=150) if trained else None,
            selection="reference_val" if trained else None,
            seed=seed,
            inputs=tuple(inputs),
        )
        planned = PlannedTrial(
            id=trial_id(spec),
            spec=spec,
            location=Location(data="data/demo", pretrained="demo.safetensors"),
            benchmark=self.benchmark,
            label=label,
            of=of,
            model=self.model,
            kind=kind,  # type: ignore[arg-type]
        )
        self.plan.append(planned)
        return planned

    def done(
        self,
        trial: PlannedTrial,
        accuracy: Mapping[str, Sequence[float]] | Sequence[float],
        parameters: Mapping[str, Mapping[str, float]] | None = None,
        nll: float = 1.0,
        train_seconds: float = 20.0,
    ) -> TrialRecord:
        """Record a trial as completed; `accuracy` in percent on the domains, by variant if there are several."""
        by_variant = accuracy if isinstance(accuracy, Mapping) else {"": accuracy}
        evaluations = [
            Evaluation(
                variant=variant,
                domain=domain,
                split="test",
                num_images=NUM_IMAGES,
                num_correct=round(value / 100 * NUM_IMAGES),
                accuracy=round(value / 100 * NUM_IMAGES) / NUM_IMAGES,
                nll=nll + (100 - value) / 100,
            )
            for variant, values in by_variant.items()
            for domain, value in zip(self.domains, values, strict=True)
        ]
        return self._record(
            trial,
            status="completed",
            evaluations=tuple(evaluations),
            variants={k: dict(v) for k, v in (parameters or {}).items()},
            seconds={"train": train_seconds, "evaluate": 2.0} if trial.kind == "trained" else {"evaluate": 2.0},
        )

    def measured(
        self,
        trial: PlannedTrial,
        accuracy: Mapping[tuple[str, str], float],
        by_class: Mapping[tuple[str, str], float] | None = None,
    ) -> TrialRecord:
        """Record a trial as completed with these evaluations: (domain, split) -> percent correct."""
        evaluations = [
            Evaluation(
                domain=domain,
                split=split,  # type: ignore[arg-type]
                num_images=NUM_IMAGES,
                num_correct=round(value / 100 * NUM_IMAGES),
                accuracy=round(value / 100 * NUM_IMAGES) / NUM_IMAGES,
                nll=1 + (100 - value) / 100,
                class_accuracy=by_class[domain, split] / 100 if by_class else None,
            )
            for (domain, split), value in accuracy.items()
        ]
        return self._record(trial, status="completed", evaluations=tuple(evaluations), seconds={"evaluate": 2.0})

    def failed(
        self,
        trial: PlannedTrial,
        type: str = "ValueError",
        message: str = "loss is not finite at step 31",
        failure_class: FailureClass = "permanent",
    ) -> TrialRecord:
        """Record a trial as failed."""
        error = ErrorInfo(failure_class=failure_class, type=type, message=message, traceback="Traceback ...")
        return self._record(trial, status="failed", error=error)

    def _record(self, trial: PlannedTrial, **fields: object) -> TrialRecord:
        minute = len(self.records)
        environment = Environment(
            python="3.11.9",
            packages={"torch": "2.15.0", "open_clip_torch": "3.3.0"},
            git_commit="0123456789abcdef0123456789abcdef01234567",
            git_dirty=False,
            device="cpu",
            num_workers=1,
            platform="Linux-x86_64",
        )
        record = TrialRecord(
            id=trial.id,
            spec=trial.spec,
            environment=environment,
            started_at="2026-01-02T03:00:00+00:00",
            finished_at=f"2026-01-02T{4 + minute // 60 % 20:02d}:{minute % 60:02d}:00+00:00",
            **fields,  # type: ignore[arg-type]
        )
        self.records[record.id] = record
        return record

    def plans(self) -> list[BenchmarkPlan]:
        """The plan of the benchmark."""
        return [
            BenchmarkPlan(
                benchmark=self.benchmark,
                description="20 drawn classes in five domains",
                manifest="/elsewhere/benchmarks.yaml",
                dataset=self.dataset,
                dataset_title="Demo drawings",
                domains=self.domains,
                leave_one_out=self.leave_one_out,
                seen_unseen=self.seen_unseen,
                baseline=self.baseline,
                trials=tuple(self.plan),
            )
        ]

    def write(self, root: Path, plans: bool = True) -> Path:
        """Write everything the way a sweep does; returns the folder."""
        results = Results(root)
        for record in self.records.values():
            write_record(results, record)
        if plans:
            for plan in self.plans():
                write_plan(results, plan)
        return root


def demo(
    sources: Sequence[str] = ("real",),
    seeds: Sequence[int] = (0, 1, 2),
    spread: float = 1.0,
    folder: Folder | None = None,
) -> Folder:
    """Zero-shot, two trained methods and WiSE-FT of both, for each source; noise from a fixed seed."""
    random = Random(7)
    folder = folder or Folder()
    zero_shot = folder.trial("zero_shot", kind="reference")
    folder.done(zero_shot, ZERO_SHOT)
    trained: dict[tuple[str, str, int], tuple[PlannedTrial, list[float]]] = {}
    for source in sources:
        for label, means in TRAINED.items():
            for seed in seeds:
                # The reference domain of the recorded means is the first; for another source the two swap places.
                values = [mean + random.gauss(0, spread) for mean in means]
                index = DOMAINS.index(source)
                values[0], values[index] = values[index], values[0]
                trial = folder.trial(label, seed, sources=(source,))
                folder.done(trial, values, train_seconds=20 + random.random())
                trained[source, label, seed] = trial, values
    for (source, label, seed), (trial, values) in trained.items():
        wise = folder.trial(
            "wise_ft",
            seed,
            sources=(source,),
            kind="post_hoc",
            of=label,
            inputs=(trial.id,),
            settings={"alphas": list(ALPHAS)},
        )
        paths = {f"alpha={alpha}": _between(ZERO_SHOT, values, alpha) for alpha in ALPHAS}
        folder.done(wise, paths, {f"alpha={alpha}": {"alpha": alpha} for alpha in ALPHAS})
    return folder


def _between(start: Sequence[float], end: Sequence[float], alpha: float) -> list[float]:
    # Interpolated weights do better than the interpolated accuracy, as in the WiSE-FT paper's figures.
    bonus = 10 * alpha * (1 - alpha)
    return [(1 - alpha) * a + alpha * b + bonus for a, b in zip(start, end, strict=True)]


def incomplete() -> Folder:
    """A sweep with every kind of hole: a failed trial, what depended on it, and one that was not run."""
    folder = demo()
    by_name = {(t.label, t.of, t.spec.seed): t for t in folder.plan}
    for seed in (1, 2):
        for key in (("lipsum_ft", None, seed), ("wise_ft", "lipsum_ft", seed)):
            del folder.records[by_name[key].id]
    lost = by_name["lipsum_ft", None, 1]
    folder.failed(lost)
    folder.failed(
        by_name["wise_ft", "lipsum_ft", 1], "InputFailed", f"input {lost.id} failed", failure_class="dependency"
    )
    return folder
