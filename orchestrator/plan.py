"""Manifest -> trials with their ids and edges, what is done of them, and what they will cost. Writes nothing.

A trial's id is made from its content, so a trial that two benchmarks share has one id and is run once. The order of
`targets:` and of keys in the manifest, comments, and the place of the files do not matter to it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from datasets.shards import Prepared, open_prepared
from orchestrator.manifest import Benchmark, Manifest, ManifestError
from orchestrator.manifest_methods import MethodUse, Point
from orchestrator.manifest_models import Model
from orchestrator.records import Results, read_record
from orchestrator.spec import UNPREPARED, BenchmarkPlan, DataRef, Location, PlannedTrial, TrialSpec, trial_id

Status = Literal["done", "failed", "missing"]

_log = logging.getLogger(__name__)


@dataclass
class _Planner:
    """Makes the trials of one benchmark."""

    manifest: Manifest
    benchmark: Benchmark
    prepared: Prepared | None
    trained: dict[tuple[str, str, str], list[PlannedTrial]] = field(default_factory=dict)
    """(model, source, method key) -> trials by grid point and seed"""

    def __post_init__(self) -> None:
        self._locations = {model.key: self._location(model) for model in self.benchmark.models}

    def trials(self) -> Iterator[PlannedTrial]:
        """All trials: what does not train, what does, and what builds on that."""
        benchmark = self.benchmark
        for model in benchmark.models:
            for use in (u for u in benchmark.methods if u.kind == "reference"):
                yield from self._reference(model, use)
        cells = [(model, source) for model in benchmark.models for source in benchmark.sources]
        for model, source in cells:
            for use in (u for u in benchmark.methods if u.kind == "trained"):
                found = list(self._trained(model, source, use))
                self.trained[model.key, source, use.key] = found
                yield from found
        for model, source in cells:
            for use in benchmark.post_hoc:
                yield from (self._combined if use.many else self._derived)(model, source, use)

    def _data(self, sources: tuple[str, ...]) -> DataRef:
        """The targets are in the dataset's order, the source first: the manifest's order changes no result."""
        benchmark, info = self.benchmark, self.benchmark.info
        rest = [domain for domain in info.domains if domain in benchmark.targets and domain not in sources]
        # What does not train uses no validation images: its trials are shared between benchmarks that split differently.
        split = {"val_fraction": benchmark.val_fraction, "split_seed": benchmark.split_seed} if sources else {}
        return DataRef(
            name=info.name,
            identity=self.prepared.identity if self.prepared else UNPREPARED,
            sources=sources,
            targets=(*sources, *rest),
            **split,
        )

    def _reference(self, model: Model, use: MethodUse) -> Iterator[PlannedTrial]:
        data = self._data(())
        for point in use.points:
            yield self._planned(model, use, point, data, seed=0)

    def _trained(self, model: Model, source: str, use: MethodUse) -> Iterator[PlannedTrial]:
        data = self._data((source,))
        for point in use.points:
            for seed in self.benchmark.seeds:
                yield self._planned(model, use, point, data, seed=seed)

    def _derived(self, model: Model, source: str, use: MethodUse) -> Iterator[PlannedTrial]:
        """One trial for each input trial."""
        data = self._data((source,))
        for point in use.points:
            for trial in (t for key in use.of for t in self.trained[model.key, source, key]):
                yield self._planned(model, use, point, data, seed=trial.spec.seed, inputs=(trial.id,), of=trial.label)

    def _combined(self, model: Model, source: str, use: MethodUse) -> Iterator[PlannedTrial]:
        """One trial for all seeds and grid points of a method."""
        data = self._data((source,))
        for point in use.points:
            for key in use.of:
                inputs = tuple(trial.id for trial in self.trained[model.key, source, key])
                yield self._planned(model, use, point, data, seed=0, inputs=inputs, of=key)

    def _planned(
        self,
        model: Model,
        use: MethodUse,
        point: Point,
        data: DataRef,
        *,
        seed: int,
        inputs: tuple[str, ...] = (),
        of: str | None = None,
    ) -> PlannedTrial:
        spec = TrialSpec(
            method=use.method,
            method_version=use.version,
            settings=point.settings,
            data=data,
            model=model.ref,
            recipe=point.recipe,
            preprocessing=self.benchmark.preprocessing,
            selection=self.benchmark.selection if use.kind == "trained" else None,
            seed=seed,
            inputs=inputs,
        )
        return PlannedTrial(
            id=trial_id(spec),
            spec=spec,
            location=self._locations[model.key].model_copy(update={"files": dict(point.files)}),
            benchmark=self.benchmark.name,
            label=point.label,
            of=of,
            model=model.key,
            kind=use.kind,
        )

    def _location(self, model: Model) -> Location:
        return Location(
            data=str(data_folder(self.manifest, self.benchmark)),
            pretrained=model.pretrained,
            model_config_file=str(model.config) if model.config else None,
            plugins=tuple(map(str, self.manifest.plugins)),
        )


def make_plans(manifest: Manifest, names: Sequence[str] | None) -> list[BenchmarkPlan]:
    """The plans of these benchmarks, or of those the manifest runs by default.

    Data and weights that are not on this machine are planned as 'unprepared'. Raises ManifestError for an unknown
    benchmark, a damaged dataset, or a prepared one that lacks a domain.
    """
    chosen = manifest.select(names)
    prepared = {b.info.name: _open(manifest, b) for b in chosen}
    return [_plan(manifest, benchmark, prepared[benchmark.info.name]) for benchmark in chosen]


def _plan(manifest: Manifest, benchmark: Benchmark, prepared: Prepared | None) -> BenchmarkPlan:
    if prepared and (lacking := [d for d in benchmark.targets if d not in prepared.domains]):
        raise ManifestError(
            [
                f"{prepared.root}: was prepared without {', '.join(lacking)} of dataset {benchmark.info.name!r}, "
                f"it has {', '.join(prepared.domains)}; remove the folder and prepare the dataset again"
            ]
        )
    return BenchmarkPlan(
        benchmark=benchmark.name,
        description=benchmark.description,
        manifest=str(manifest.path),
        dataset=benchmark.info.name,
        dataset_title=benchmark.info.title,
        domains=benchmark.targets,
        trials=tuple(_Planner(manifest, benchmark, prepared).trials()),
    )


def data_folder(manifest: Manifest, benchmark: Benchmark) -> Path:
    """Where the benchmark's prepared dataset is expected."""
    return manifest.data / benchmark.info.name


def _open(manifest: Manifest, benchmark: Benchmark) -> Prepared | None:
    try:
        return open_prepared(data_folder(manifest, benchmark))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ManifestError([" ".join(str(error).split())]) from None


@dataclass(frozen=True)
class Unprepared:
    """Something on which trials wait: a dataset or weights that are not on this machine."""

    what: str
    todo: str
    generated: bool = False
    """a dataset that `run` makes by itself"""
    dataset_ref: str = ""
    folder: Path | None = None


def unprepared(manifest: Manifest, names: Sequence[str] | None) -> list[Unprepared]:
    """Datasets and weights that the benchmarks need and this machine lacks, each once, with what to do."""
    found: dict[str, Unprepared] = {}
    for benchmark in manifest.select(names):
        folder = data_folder(manifest, benchmark)
        if _open(manifest, benchmark) is None:
            generated = benchmark.dataset.generated
            command = f"python -m orchestrator prepare {benchmark.dataset_ref} --to {folder}"
            published = "" if generated else f" --from FOLDER (the files as published at {benchmark.info.source})"
            what = f"dataset {benchmark.info.name!r} is not in {folder}"
            found[what] = Unprepared(what, f"run: {command}{published}", generated, benchmark.dataset_ref, folder)
        for model in benchmark.models:
            if not model.is_prepared:
                what = f"weights of model {model.key!r} are not at {model.pretrained}"
                found[what] = Unprepared(what, f"put the file there, or change models.{model.key}.pretrained")
    return list(found.values())


def statuses(plans: Sequence[BenchmarkPlan], results: Results) -> dict[str, Status]:
    """Trial id -> what its record says. A record that cannot be read counts as missing and is logged as a warning."""
    found: dict[str, Status] = {}
    for trial in (trial for plan in plans for trial in plan.trials):
        if trial.id not in found:
            found[trial.id] = _status(results, trial.id)
    return found


def _status(results: Results, id: str) -> Status:
    try:
        record = read_record(results.record(id))
    except FileNotFoundError:
        return "missing"
    except (ValueError, OSError) as error:
        _log.warning("unreadable record, its trial counts as missing: %s", error)
        return "missing"
    return "done" if record.status == "completed" else "failed"


@dataclass(frozen=True)
class Estimate:
    """What trials will do. Images are counted each time they are read."""

    num_steps: int = 0
    training_images: int = 0
    evaluation_images: int = 0
    """one pass for all variants of a post-hoc trial"""

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(
            self.num_steps + other.num_steps,
            self.training_images + other.training_images,
            self.evaluation_images + other.evaluation_images,
        )


def image_counts(manifest: Manifest, name: str) -> dict[str, dict[str, int]]:
    """domain -> split -> images: of the prepared dataset, or as its authors state them."""
    [benchmark] = manifest.select([name])
    prepared = _open(manifest, benchmark)
    if prepared is None:
        return {domain: dict(splits) for domain, splits in benchmark.info.counts.items()}
    return {domain: {split: sum(n) for split, n in splits.items()} for domain, splits in prepared.counts.items()}


def estimate(trial: PlannedTrial, counts: Mapping[str, Mapping[str, int]]) -> Estimate:
    """Steps and images of one trial: training, selection on the reference domain, and the test splits."""
    spec, recipe = trial.spec, trial.spec.recipe
    tests = sum(counts.get(domain, {}).get("test", 0) for domain in spec.data.targets)
    if recipe is None:
        return Estimate(evaluation_images=tests)
    selected = 0
    for source in spec.data.sources:
        split = counts.get(source, {})
        val = round(split.get("train", 0) * spec.data.val_fraction)
        selected += {"reference_val": val, "reference_test": split.get("test", 0), "last": 0}[spec.selection or "last"]
    passes = math.ceil(recipe.num_steps / recipe.eval_every)
    return Estimate(recipe.num_steps, recipe.num_steps * recipe.global_batch_size, tests + passes * selected)
