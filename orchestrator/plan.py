"""Manifest -> trials with their ids and edges, what is done of them, and what they will cost. Writes nothing.

A trial's id is made from its content, so a trial that two benchmarks share has one id and is run once. The order of
`targets:` and of keys in the manifest, comments, and the place of the files do not matter to it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

import datasets
from datasets.base import DatasetInfo
from datasets.shards import Prepared, open_prepared
from datasets.storage import join
from orchestrator import gate
from orchestrator.lacking import domains_option, lacking
from orchestrator.manifest import Benchmark, Manifest, ManifestError
from orchestrator.manifest_methods import MethodUse, Point
from orchestrator.manifest_models import Model
from orchestrator.records import Results, read_record
from orchestrator.spec import UNPREPARED, BenchmarkPlan, DataRef, Location, PlannedTrial, TrialSpec, trial_id
from orchestrator.stale import stale_of_plans
from orchestrator.transfer import Transfer, images_by_place, lacking_images, transfer_ref

Status = Literal["done", "failed", "stale", "missing"]
"""stale: missing, but its cell has a record that was made with other code, data, weights or settings"""
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
                for trial in self.trained[model.key, sources, key]:
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


def make_plans(manifest: Manifest, names: Sequence[str] | None) -> list[BenchmarkPlan]:
    """The plans of these benchmarks, or of those the manifest runs by default.

    Data and weights that are not on this machine are planned as 'unprepared'. Raises ManifestError for an unknown
    benchmark, a damaged dataset, or a prepared one that lacks a domain.
    """
    chosen = manifest.select(names)
    prepared = {b.dataset_ref: _open(manifest, b.dataset_ref, b.info) for b in chosen}
    return [_plan(manifest, benchmark, prepared[benchmark.dataset_ref]) for benchmark in chosen]


def _plan(manifest: Manifest, benchmark: Benchmark, prepared: Prepared | None) -> BenchmarkPlan:
    if prepared and (unfit := lacking(benchmark, prepared)):
        raise ManifestError(unfit)
    transfer = [(one, _open(manifest, one.ref, one.dataset.info)) for one in benchmark.transfer]
    if unfit := [why for one, found in transfer if found and (why := lacking_images(one, found))]:
        raise ManifestError(unfit)
    seen_unseen = benchmark.info.seen_unseen
    return BenchmarkPlan(
        benchmark=benchmark.name,
        description=benchmark.description,
        manifest=str(manifest.path),
        dataset=benchmark.info.name,
        dataset_title=benchmark.info.title,
        domains=benchmark.targets,
        classnames=benchmark.info.classnames,
        baseline=benchmark.baseline,
        leave_one_out=benchmark.leave_one_out,
        seen_unseen=seen_unseen if seen_unseen and set(seen_unseen) <= set(benchmark.targets) else None,
        trials=tuple(_Planner(manifest, benchmark, prepared, transfer).trials()),
    )


def data_folder(manifest: Manifest, benchmark: Benchmark) -> Path | str:
    """Where the benchmark's prepared dataset is expected."""
    return folder_of(manifest, benchmark.dataset_ref)


def folder_of(manifest: Manifest, ref: str) -> Path | str:
    """Where the prepared dataset of a reference is expected: a folder or a URL."""
    name = datasets.folder_name(ref)
    return manifest.data / name if isinstance(manifest.data, Path) else join(manifest.data, name)


def _open(manifest: Manifest, ref: str, info: DatasetInfo) -> Prepared | None:
    place = folder_of(manifest, ref)
    try:
        prepared = open_prepared(place) if isinstance(place, Path) else _open_remote(place)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ManifestError([" ".join(str(error).split())]) from None
    if (prepared.name, prepared.revision) != (info.name, info.revision):
        raise ManifestError(
            [
                f"{place}: holds revision {prepared.revision!r} of dataset {prepared.name!r}, expected revision "
                f"{info.revision!r} of {info.name!r}; prepare that one in its place, or name the other one in the manifest"
            ]
        )
    return prepared


@lru_cache(maxsize=256)
def _open_remote(url: str) -> Prepared:
    """Planning looks at a dataset more than once, and reads it over the network once."""
    return open_prepared(url)


@dataclass(frozen=True)
class Unprepared:
    """Something on which trials wait: a dataset or weights that are not on this machine."""

    what: str
    todo: str
    generated: bool = False
    """a dataset that `run` makes by itself"""
    dataset_ref: str = ""
    folder: Path | None = None
    """where `run` makes it"""


def unprepared(manifest: Manifest, names: Sequence[str] | None) -> list[Unprepared]:
    """Datasets and weights that the benchmarks need and this machine lacks, each once, with what to do."""
    found: dict[str, Unprepared] = {}
    for benchmark in manifest.select(names):
        needed = [(benchmark.dataset_ref, benchmark.dataset), *((t.ref, t.dataset) for t in benchmark.transfer)]
        for ref, dataset in needed:
            folder = folder_of(manifest, ref)
            if _open(manifest, ref, dataset.info) is None:
                made_here = folder if dataset.generated and isinstance(folder, Path) else None
                to, then = (
                    (folder, "") if not str(folder).startswith("http") else ("FOLDER2", "; and serve FOLDER2 there")
                )
                published = f" --from FOLDER (the files as published at {dataset.info.source})"
                some = domains_option(benchmark) if ref == benchmark.dataset_ref else ""
                source = "" if dataset.generated else published
                command = f"python -m orchestrator prepare {ref} --to {to}{some}{source}{then}"
                what = f"dataset {datasets.folder_name(ref)!r} is not in {folder}"
                found[what] = Unprepared(what, f"run: {command}", made_here is not None, ref, made_here)
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
    prepared = _open(manifest, benchmark.dataset_ref, benchmark.info)
    if prepared is None:
        counts = {domain: dict(splits) for domain, splits in benchmark.info.counts.items()}
    else:
        counts = {d: {split: sum(n) for split, n in splits.items()} for d, splits in prepared.counts.items()}
    for transfer in benchmark.transfer:
        counts |= images_by_place(transfer, _open(manifest, transfer.ref, transfer.dataset.info))
    return counts
