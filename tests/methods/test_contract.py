"""What every trained method must hold, over all files found in methods/: a new one is tested before its author writes a line."""

from __future__ import annotations

import ast
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp

import methods
from datasets.shards import Prepared
from methods.base import Method, PostHoc
from tests.bench import Bench, Killed, kill_at, make_method
from tests.conftest import ROOT
from tests.methods.two_workers import STEADY, train_as_rank
from training.checkpoint import load_tensors
from training.model import PretrainedClip
from training.optim import check_phases

ALL = sorted(methods.available())
TRAINED = [name for name in ALL if issubclass(methods.load(name), Method) and methods.load(name).trains]


@pytest.fixture
def bench(tiny_clip: PretrainedClip, blobs: Prepared) -> Bench:
    return Bench(tiny_clip, blobs)


@pytest.mark.parametrize("name", ALL)
def test_it_says_what_it_is_and_has_a_test_of_its_own(name: str) -> None:
    found = methods.load(name)
    assert found.title
    assert found.paper
    assert found.version >= 1
    assert "arXiv:" in (ast.get_docstring(ast.parse(methods.available()[name].read_text())) or "")
    assert (ROOT / f"tests/methods/test_{name}.py").exists()


@pytest.mark.parametrize("name", ALL)
def test_it_imports_no_other_method_no_dataset_and_no_ray(name: str) -> None:
    path = methods.available()[name]
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    forbidden = [m for m in imported if m.split(".")[0] in {"ray", "datasets", "orchestrator"}]
    forbidden += [m for m in imported if m.startswith("methods") and m != "methods.base"]
    assert not forbidden
    assert len(path.read_text().splitlines()) <= 200


@pytest.mark.parametrize("name", ALL)
def test_its_defaults_are_valid_and_survive_json(name: str) -> None:
    config = methods.load(name).Config
    assert config.model_validate(config().model_dump(mode="json")) == config()


@pytest.mark.parametrize("name", TRAINED)
def test_the_loss_is_finite_and_named(name: str, bench: Bench, tmp_path: Path) -> None:
    fit = bench.fit(make_method(name), tmp_path)
    phases = list(fit.method.setup(fit.model, fit.task))
    check_phases(phases, fit.model)
    if not phases:  # it takes no step, so there is no loss to ask for
        assert fit.method.fitted_in_setup
        return
    losses = fit.method.loss(fit.model, bench.normalise(next(fit.stream.batches(0, 1))))
    assert losses["loss"].requires_grad
    assert len(losses) >= 2
    assert all(value.ndim == 0 and torch.isfinite(value) for value in losses.values())
    assert not any(value.requires_grad for key, value in losses.items() if key != "loss")


@pytest.mark.parametrize("name", TRAINED)
def test_what_is_trained_moves_and_what_is_not_stays(name: str, bench: Bench, tmp_path: Path) -> None:
    fit = bench.fit(make_method(name), tmp_path)
    start = {key: value.clone() for key, value in fit.model.state_dict().items()}
    again = bench.fit(make_method(name), tmp_path / "again")
    again.method.setup(again.model, again.task)
    start = {**again.model.state_dict(), **start}  # and what `setup` attaches to the model
    fit.run()
    trained = {parameter for phase in fit.phases for parameter in phase.trained} | {*fit.method.fitted_in_setup}
    for key, value in fit.model.state_dict().items():
        assert torch.equal(value, start[key]) != (key in trained), key
    for key, value in bench.model().state_dict().items():  # nor did the shared pre-trained weights move
        assert torch.equal(value, start[key]), key


@pytest.mark.parametrize("name", TRAINED)
def test_interrupted_and_resumed_equals_uninterrupted(name: str, bench: Bench, tmp_path: Path) -> None:
    whole = bench.run(name, tmp_path / "whole", selection="reference_val")
    with pytest.raises(Killed) if whole.images_seen else nullcontext():  # without steps there is nothing to cut
        kill_at(bench.fit(make_method(name), tmp_path / "cut", selection="reference_val"), 7).run()
    resumed = bench.fit(make_method(name), tmp_path / "cut", selection="reference_val").run()
    assert all(torch.equal(whole.weights[key], resumed.weights[key]) for key in whole.weights)


@pytest.mark.parametrize("name", TRAINED)
def test_the_result_does_not_depend_on_what_ran_before(name: str, bench: Bench, tmp_path: Path) -> None:
    alone = bench.run(name, tmp_path / "alone").weights
    for other in TRAINED:
        bench.run(other, tmp_path / f"before-{other}", seed=5)
    again = bench.run(name, tmp_path / "again").weights
    assert all(torch.equal(alone[key], again[key]) for key in alone)


def test_two_workers_equal_one(bench: Bench, blobs: Prepared, tiny_config: Path, tmp_path: Path) -> None:
    """All methods in one pair of processes: starting them is what takes the time."""
    context = mp.get_context("spawn")
    store = tmp_path / "store"
    args = [(rank, str(store), str(tiny_config), blobs.root, TRAINED, str(tmp_path)) for rank in (0, 1)]
    workers = [context.Process(target=train_as_rank, args=a) for a in args]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=180)
    assert [worker.exitcode for worker in workers] == [0, 0]
    for name in TRAINED:
        one = bench.run(name, tmp_path / "one" / name, recipe=STEADY)
        two, meta = load_tensors(tmp_path / f"{name}.safetensors")
        differences = torch.cat([(one.weights[key] - two[key]).flatten() for key in two])
        assert differences.abs().max() < 1e-5, name
        assert differences.mean().abs() < 1e-7, name
        assert meta["trace"] == [[s.step, s.accuracy, pytest.approx(s.nll, abs=1e-4)] for s in one.trace]


def test_the_base_classes_refuse_foreign_settings() -> None:
    for found in (methods.load("lipsum_ft"), methods.load("wise_ft")):
        assert issubclass(found, Method | PostHoc)
        with pytest.raises(TypeError, match="takes a"):
            found(methods.load("ft").Config())
