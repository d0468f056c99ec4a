"""Every benchmark of `benchmarks.yaml` runs: planned as shipped, then small.

Datasets have the domains, splits, classes and groups of their cards, but a few drawn images a split and two templates at
most; models are the tiny CLIP, and what trains takes two steps. Each method of a benchmark, and each post-hoc method on each
method it builds on, runs once: at the last point of its grid, for the last source and seed. What two benchmarks share runs
for the first of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import datasets
from datasets.base import Dataset, Entry, Published
from datasets.shards import write_prepared
from datasets.templates import OPENAI_IMAGENET_TEMPLATES
from orchestrator.conformance.tiny import write_config
from orchestrator.identity import file_identity
from orchestrator.manifest.read import Manifest, load_manifest
from orchestrator.planning.plan import make_plans
from orchestrator.records import Results, TrialRecord, read_record
from orchestrator.spec import BenchmarkPlan, ModelRef, PlannedTrial, trial_id
from orchestrator.trials import bench
from orchestrator.trials.trial import run_trial
from tests.conftest import ROOT
from tests.datasets.miniature import picture
from training.runtime import Runtime

BENCHMARKS: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "benchmarks.yaml").read_text())["benchmarks"]
IMAGES = 6
"""of each split"""
LESS = {"iterations": 2, "max_iter": 20, "alphas": [0.0, 0.5, 1.0]}
"""settings that cost time, where a method has them"""


class Drawn(Dataset):
    """A dataset as its card says, but for the number of images and what they show."""

    generated = True

    def __init__(self, dataset: Dataset) -> None:
        info = dataset.info
        counts = {domain: dict.fromkeys(dataset.splits(domain), IMAGES) for domain in info.domains}
        self.info = replace(info, counts=counts, class_counts={}, templates=info.templates[:2])

    def entries(self, domain: str, split: str, source: Published | None) -> list[Entry]:
        """Three classes of those the domain has, in turn."""
        labels = [group[0] for group in self.info.groups.get(domain, ())] or range(len(self.info.classnames))
        chosen = (labels[0], labels[len(labels) // 2], labels[-1])
        return [Entry(f"{split}-{i}", chosen[i % 3], f"{domain}/{i}", None, f"drawing {i}") for i in range(IMAGES)]

    def read(self, entry: Entry, source: Published | None) -> tuple[bytes, str]:
        """One colour for each class and image."""
        return picture(7 * entry.label + int(entry.path.rpartition("/")[2])), "jpg"


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manifest]:
    """The shipped manifest; all its datasets are drawn and prepared."""
    folder = tmp_path_factory.mktemp("shipped")
    names = dict.fromkeys(ref for b in BENCHMARKS.values() for ref in (b["dataset"], *b.get("transfer", ())))
    drawn = {ref: Drawn(datasets.load(ref)) for ref in names}
    for ref, dataset in drawn.items():
        to = folder / "data" / datasets.folder_name(ref)
        write_prepared(dataset, to, source=None, domains=dataset.info.default_domains)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "load", lambda ref: drawn[str(ref)])
        patch.setattr(bench, "OPENAI_IMAGENET_TEMPLATES", OPENAI_IMAGENET_TEMPLATES[:2])
        yield replace(load_manifest(ROOT / "benchmarks.yaml"), data=folder / "data", results=folder / "results")


@pytest.fixture(scope="module")
def clip77(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny CLIP's config with CLIP's context length, which the longest random texts need."""
    path = write_config(tmp_path_factory.mktemp("model"))
    config = json.loads(path.read_text())
    config["text_cfg"]["context_length"] = 77
    path.write_text(json.dumps(config))
    return path


class Small:
    """Runs trials of a plan in small, each after those it builds on and each once."""

    def __init__(self, plan: BenchmarkPlan, config: Path, results: Results) -> None:
        self.planned = {trial.id: trial for trial in plan.trials}
        self.config, self.results = config, results
        self.model = ModelRef(name=config.stem, weights="random:0", architecture=file_identity(config))

    def run(self, trial: PlannedTrial) -> TrialRecord:
        """The record of the trial in small; it builds on two others at most."""
        inputs = tuple(self.run(self.planned[id]).id for id in trial.spec.inputs[-2:])
        small = self.shrunk(trial, inputs)
        if self.results.record(small.id).exists():
            return read_record(self.results.record(small.id))
        return run_trial(small, self.results, Runtime(), attempt=1)

    def shrunk(self, trial: PlannedTrial, inputs: tuple[str, ...]) -> PlannedTrial:
        """The trial with the tiny CLIP, two steps of two images a source, and `LESS`; it has no published values."""
        spec = trial.spec
        steps = {"num_steps": 2, "eval_every": 1, "global_batch_size": 2 * len(spec.data.sources)}
        changes = {
            "settings": spec.settings | {name: value for name, value in LESS.items() if name in spec.settings},
            "model": self.model,
            "recipe": spec.recipe and spec.recipe.model_copy(update=steps),
            "inputs": inputs,
        }
        made = spec.model_copy(update=changes)
        location = trial.location.model_copy(update={"pretrained": "random:0", "model_config_file": str(self.config)})
        return trial.model_copy(update={"id": trial_id(made), "spec": made, "location": location, "expected": ()})


def chosen(plan: BenchmarkPlan) -> dict[tuple[str, str], PlannedTrial]:
    """(method, method it builds on or ''), by their keys in the manifest -> the last of their trials."""
    return {(trial.label.split()[0], (trial.of or "").partition(" ")[0]): trial for trial in plan.trials}


def asked(entry: dict[str, Any]) -> set[tuple[str, str]]:
    """The keys that `chosen` should have."""
    post_hoc = entry.get("post_hoc", {}).items()
    return {(key, "") for key in entry["methods"]} | {(key, of) for key, settings in post_hoc for of in settings["of"]}


def measured(entry: dict[str, Any], domains: set[str], sources: set[str]) -> set[tuple[str, str]]:
    """(domain or dataset of transfer, split) of all that a trial of a benchmark should be evaluated on."""
    # Of pools, sources have held-out images alone, and a trial without sources is measured on both parts of each.
    pooled = entry.get("protocol") == "domainbed"
    tested = domains - sources if pooled else domains
    held_out = sources or (domains if pooled else set())
    return {(d, "test") for d in tested | {*entry.get("transfer", ())}} | {(d, "val") for d in held_out}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_shipped_benchmark_runs_and_is_measured_on_all_that_it_names(
    name: str, manifest: Manifest, clip77: Path
) -> None:
    (plan,) = make_plans(manifest, [name])
    small, trials, entry = Small(plan, clip77, Results(manifest.results)), chosen(plan), BENCHMARKS[name]
    assert trials.keys() == asked(entry)
    for trial in trials.values():
        record = small.run(trial)
        assert (record.status, record.warnings, record.no_transfer) == ("completed", (), {}), trial.label
        wanted = measured(entry, {*entry.get("targets", plan.domains)}, {*trial.spec.data.sources})
        places = [(e.variant, e.domain, e.split) for e in record.evaluations]
        assert sorted(places) == sorted((v, *place) for v in record.variants or ("",) for place in wanted), trial.label
        assert all(math.isfinite(e.nll) and e.num_images for e in record.evaluations), trial.label
