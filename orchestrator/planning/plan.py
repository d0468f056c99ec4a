"""Manifest -> trials with their ids and edges, what is done of them, and what they will cost. Writes nothing.

A trial's id is made from its content, so a trial that two benchmarks share has one id and is run once. The order of
`targets:`, of `seeds:` and of keys in the manifest, comments, and the place of the files do not matter to it; that of
`transfer:` and of a grid's values, which soups go through, does.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from datasets.shards import Prepared
from orchestrator.facts import FactsError
from orchestrator.manifest.methods import MethodUse, Point
from orchestrator.manifest.models import Model
from orchestrator.manifest.read import Benchmark, Manifest, ManifestError
from orchestrator.planning import gate
from orchestrator.planning.places import data_folder, folder_of, lacking, open_planned
from orchestrator.planning.stale import stale_of_plans
from orchestrator.records import Results, read_record
from orchestrator.spec import UNPREPARED, BenchmarkPlan, DataRef, Location, PlannedTrial, TrialSpec, trial_id
from orchestrator.transfer import Transfer, images_by_place, lacking_images, transfer_ref

Status = Literal["done", "failed", "stale", "missing"]
"""stale: it has no record, but its cell has one that was made with other code, data, weights or settings"""
Sources = tuple[str, ...]
"""domains that a trial trains on together"""

_log = logging.getLogger(__name__)


@dataclass
class _Planner:
    """Makes the trials of one benchmark."""

    manifest: Manifest
    benchmark: Benchmark
    prepared: Prepared | None
    transfer: Sequence[tuple[Transfer, Prepared | None]] = ()
    trained: dict[tuple[str, Sources, str], list[PlannedTrial]] = field(default_factory=dict)
    """(model, sources, method key) -> trials by grid point and seed"""

    def __post_init__(self) -> None:
        self._locations = {model.key: self._location(model) for model in self.benchmark.models}

    def trials(self) -> Iterator[PlannedTrial]:
        """All trials: what does not train, what does, and what builds on that."""
        benchmark = self.benchmark
        for model in benchmark.models:
            for use in (u for u in benchmark.methods if u.kind == "reference"):
                yield from self._reference(model, use)
        cells = [(model, sources) for model in benchmark.models for sources in benchmark.sources]
        for model, sources in cells:
            for use in (u for u in benchmark.methods if u.kind == "trained"):
                found = list(self._trained(model, sources, use))
                self.trained[model.key, sources, use.key] = found
                yield from found
        for model, sources in cells:
            for use in benchmark.post_hoc:
                yield from (self._combined if use.many else self._derived)(model, sources, use)

    def _data(self, sources: Sources, seed: int = 0) -> DataRef:
        """The targets are in the dataset's order, the sources first: the manifest's order changes no result."""
        benchmark, info = self.benchmark, self.benchmark.info
        rest = [domain for domain in info.domains if domain in benchmark.targets and domain not in sources]
        # What does not train uses no validation images: its trials are shared between benchmarks that split differently.
        # Where images are pooled, the split also decides what a target is measured on.
        split = {"val_fraction": benchmark.val_fraction, "split_seed": benchmark.split_seed_of(seed)}
        return DataRef(
            name=info.name,
            identity=self.prepared.identity if self.prepared else UNPREPARED,
            sources=sources,
            targets=(*sources, *rest),
            target_split="in" if benchmark.pooled else "test",
            class_names=benchmark.class_names,
            transfer=tuple(transfer_ref(transfer, prepared) for transfer, prepared in self.transfer),
            **(split if sources or benchmark.pooled else {}),
        )

    def _reference(self, model: Model, use: MethodUse) -> Iterator[PlannedTrial]:
        data = self._data(())
        for point in use.points:
            yield self._planned(model, use, point, data, seed=0)

    def _trained(self, model: Model, sources: Sources, use: MethodUse) -> Iterator[PlannedTrial]:
        data = {seed: self._data(sources, seed) for seed in self.benchmark.seeds}
        for point in use.points:
            for seed in self.benchmark.seeds:
                yield self._planned(model, use, point, data[seed], seed=seed)

    def _derived(self, model: Model, sources: Sources, use: MethodUse) -> Iterator[PlannedTrial]:
        """One trial for each input trial, on its data."""
        for point in use.points:
            for trial in (t for key in use.of for t in self.trained[model.key, sources, key]):
                data, seed = trial.spec.data, trial.spec.seed
                yield self._planned(model, use, point, data, seed=seed, inputs=(trial.id,), of=trial.label)

    def _combined(self, model: Model, sources: Sources, use: MethodUse) -> Iterator[PlannedTrial]:
        """One trial for all seeds and grid points of a method.

        Where each seed holds out other images there is one for each seed: no image held out for one input may have been
        trained on by another.
        """
        for point in use.points:
            for key in use.of:
                together: dict[int, list[str]] = {}
                for trial in _by_seed(self.trained[model.key, sources, key]):
                    seed = trial.spec.seed if self.benchmark.splits_by_seed else 0
                    together.setdefault(seed, []).append(trial.id)
                for seed, ids in together.items():
                    data = self._data(sources, seed)
                    yield self._planned(model, use, point, data, seed=seed, inputs=tuple(ids), of=key)

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
            takes_steps=use.takes_steps,
            expected=gate.expected(spec, self.prepared) if use.kind == "reference" else (),
        )

    def _location(self, model: Model) -> Location:
        return Location(
            data=str(data_folder(self.manifest, self.benchmark)),
            pretrained=model.pretrained,
            model_config_file=str(model.config) if model.config else None,
            plugins=tuple(map(str, self.manifest.plugins)),
            transfer={transfer.name: str(folder_of(self.manifest, transfer.ref)) for transfer, _ in self.transfer},
        )


def _by_seed(trials: Sequence[PlannedTrial]) -> Iterator[PlannedTrial]:
    """Trials by grid point and seed, the seeds of a point ascending: the order of `seeds:` in the manifest changes no id."""
    for _, point in itertools.groupby(trials, key=lambda trial: trial.label):
        yield from sorted(point, key=lambda trial: trial.spec.seed)


def make_plans(manifest: Manifest, names: Sequence[str] | None) -> list[BenchmarkPlan]:
    """The plans of these benchmarks, or of those the manifest runs by default.

    Data and weights that are not on this machine are planned as 'unprepared'. Raises ManifestError for an unknown
    benchmark, a damaged dataset, a prepared one that lacks a domain, or a wrong file of published values.
    """
    chosen = manifest.select(names)
    prepared = {b.dataset_ref: open_planned(manifest, b.dataset_ref, b.info) for b in chosen}
    try:
        return [_plan(manifest, benchmark, prepared[benchmark.dataset_ref]) for benchmark in chosen]
    except FactsError as error:
        raise ManifestError([str(error)]) from None


def _plan(manifest: Manifest, benchmark: Benchmark, prepared: Prepared | None) -> BenchmarkPlan:
    if prepared and (unfit := lacking(benchmark, prepared)):
        raise ManifestError(unfit)
    transfer = [(one, open_planned(manifest, one.ref, one.dataset.info)) for one in benchmark.transfer]
    if unfit := [why for one, found in transfer if found and (why := lacking_images(one, found))]:
        raise ManifestError(unfit)
    seen_unseen = benchmark.info.seen_unseen
    return BenchmarkPlan(
        benchmark=benchmark.name,
        description=benchmark.description,
        manifest=str(manifest.path),
        given=manifest.given,
        dataset=benchmark.info.name,
        dataset_title=benchmark.info.title,
        domains=benchmark.targets,
        classnames=benchmark.info.classnames,
        baseline=benchmark.baseline,
        leave_one_out=benchmark.leave_one_out,
        seen_unseen=seen_unseen if seen_unseen and set(seen_unseen) <= set(benchmark.targets) else None,
        trials=tuple(_Planner(manifest, benchmark, prepared, transfer).trials()),
    )


def statuses(plans: Sequence[BenchmarkPlan], results: Results) -> dict[str, Status]:
    """Trial id -> what its record says. A record that cannot be read counts as missing and is logged as a warning."""
    found: dict[str, Status] = {}
    for trial in (trial for plan in plans for trial in plan.trials):
        if trial.id not in found:
            found[trial.id] = _status(results, trial.id)
    missing = [id for id, status in found.items() if status == "missing"]
    return found | dict.fromkeys(stale_of_plans(plans, results, missing), "stale")


def _status(results: Results, id: str) -> Status:
    try:
        record = read_record(results.record(id))
    except FileNotFoundError:
        return "missing"
    except (ValueError, OSError) as error:
        _log.warning("unreadable record, its trial counts as missing: %s", error)
        return "missing"
    return "done" if record.status == "completed" else "failed"


def image_counts(manifest: Manifest, name: str) -> dict[str, dict[str, int]]:
    """domain, or result of transfer -> split -> images: of the prepared dataset, or as its authors state them."""
    [benchmark] = manifest.select([name])
    prepared = open_planned(manifest, benchmark.dataset_ref, benchmark.info)
    if prepared is None:
        counts = {domain: dict(splits) for domain, splits in benchmark.info.counts.items()}
    else:
        counts = {d: {split: sum(n) for split, n in splits.items()} for d, splits in prepared.counts.items()}
    for transfer in benchmark.transfer:
        counts |= images_by_place(transfer, open_planned(manifest, transfer.ref, transfer.dataset.info))
    return counts
