"""What trials wait for: datasets and weights that are not on this machine, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets
from orchestrator.manifest.read import Benchmark, Manifest
from orchestrator.planning.places import domains_option, folder_of, open_planned
from orchestrator.spec import PlannedTrial


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
    found = [item for b in manifest.select(names) for item in (*_lacking_data(manifest, b), *_lacking_weights(b))]
    return list({item.what: item for item in found}.values())


def _lacking_data(manifest: Manifest, benchmark: Benchmark) -> Iterator[Unprepared]:
    needed = [(benchmark.dataset_ref, benchmark.dataset), *((t.ref, t.dataset) for t in benchmark.transfer)]
    for ref, dataset in needed:
        folder = folder_of(manifest, ref)
        if open_planned(manifest, ref, dataset.info) is not None:
            continue
        made_here = folder if dataset.generated and isinstance(folder, Path) else None
        to, then = (folder, "") if not str(folder).startswith("http") else ("FOLDER2", "; and serve FOLDER2 there")
        some = domains_option(benchmark) if ref == benchmark.dataset_ref else ""
        source = "" if dataset.generated else f" --from FOLDER (the files as published at {dataset.info.source})"
        yield Unprepared(
            f"dataset {datasets.folder_name(ref)!r} is not in {folder}",
            f"run: python -m orchestrator prepare {ref} --to {to}{some}{source}{then}",
            made_here is not None,
            ref,
            made_here,
        )


def _lacking_weights(benchmark: Benchmark) -> Iterator[Unprepared]:
    for model in benchmark.models:
        if not model.is_prepared:
            yield Unprepared(
                f"weights of model {model.key!r} are not at {model.pretrained}",
                f"put the file there, or change models.{model.key}.pretrained",
            )


def tagged_weights(trials: Iterable[PlannedTrial]) -> dict[str, tuple[str, str]]:
    """Key of a model -> (architecture, tag) where trials name published weights by a tag of open_clip."""
    return {
        trial.model: (trial.spec.model.name, trial.location.pretrained)
        for trial in trials
        if trial.spec.model.weights.startswith("tag:")
    }


def to_download(trials: Iterable[PlannedTrial]) -> Iterator[str]:
    """A line for each model whose published weights `run` would have to download. Asks no network."""
    if not (tagged := tagged_weights(trials)):
        return
    from training.hub import download_note  # brings torch

    for key, (name, tag) in tagged.items():
        if note := download_note(name, tag):
            yield f"models.{key}: {note}"
