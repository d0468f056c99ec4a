"""CLIP ViT-B/16 in its real size, with random weights from a file: manifest, plan, one step of training, one evaluation."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import open_clip
import pytest
import torch
import yaml

import datasets
from datasets.base import Entry, Published
from datasets.demo import Demo
from datasets.shards import write_prepared
from orchestrator.manifest.read import load_manifest
from orchestrator.planning.plan import make_plans
from orchestrator.records import Results
from orchestrator.trials import energies
from orchestrator.trials.trial import run_trial
from training.checkpoint import load_tensors, save_tensors
from training.runtime import Runtime

COUNTS = {"train": 4, "test": 2}


class FewDrawings(Demo):
    """A handful of the demo's images."""

    info = replace(
        Demo.info,
        domains=("real", "sketch"),
        templates=Demo.info.templates[:1],
        counts=dict.fromkeys(("real", "sketch"), COUNTS),
    )

    def entries(self, domain: str, split: str, source: Published | None = None) -> list[Entry]:
        return super().entries(domain, split, source)[: COUNTS[split]]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that is emptied in the end: pytest would keep a gigabyte of weights for three runs."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.slow
def test_one_step_and_one_evaluation(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    weights = folder / "vit_b16.safetensors"
    save_tensors(weights, open_clip.create_model("ViT-B-16", pretrained=None).state_dict())
    drawings = FewDrawings()
    monkeypatch.setattr(datasets, "load", lambda _: drawings)
    write_prepared(drawings, folder / "data/demo", source=None)
    manifest = {
        "results": "results",
        "data": "data",
        "models": {"vit_b16": {"name": "ViT-B-16", "pretrained": str(weights)}},
        "benchmarks": {
            "drawings": {
                "dataset": "demo",
                "models": ["vit_b16"],
                "sources": ["real"],
                "recipe": {"lr": 1e-4, "num_steps": 1, "global_batch_size": 2, "eval_every": 1, "warmup_fraction": 0.0},
                "methods": {"ft": {}},
            }
        },
    }
    (folder / "benchmarks.yaml").write_text(yaml.safe_dump(manifest))
    (plan,) = make_plans(load_manifest(folder / "benchmarks.yaml"), None)
    (trial,) = plan.trials
    assert trial.spec.model.weights.startswith("sha256:")
    monkeypatch.setattr(energies, "NUM_TEXTS", energies.TEXTS_AT_ONCE)  # one batch of 40: they took most of the time
    results = Results(folder / "results")
    threads = torch.get_num_threads()
    try:
        record = run_trial(trial, results, Runtime(threads=2), attempt=1)
    finally:
        torch.set_num_threads(threads)
    assert {(e.domain, e.split, e.num_images) for e in record.evaluations} == {
        ("real", "test", 2),
        ("sketch", "test", 2),
        ("real", "val", 1),
    }
    assert all((e.energy_gap is None) == (e.split == "val") for e in record.evaluations)
    assert (record.images_seen, [point.step for point in record.trace]) == (2, [1])
    tuned, _ = load_tensors(results.trial(trial.id) / "model.safetensors")
    start, _ = load_tensors(weights)
    assert tuned["head"].shape == (512, 20)
    assert tuned["visual.conv1.weight"].shape == (768, 3, 16, 16)
    assert sum(value.numel() for name, value in tuned.items() if name.startswith("visual.")) > 86e6
    encoder = [name for name in tuned if name.startswith("visual.")]
    assert not [name for name in encoder if torch.equal(tuned[name], start[name])]
