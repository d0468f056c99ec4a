"""The solver against scikit-learn, the choice of C, and what the probe leaves alone."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

import methods
import training.linear_probe as solver
from datasets.shards import Prepared
from tests.bench import RECIPE, Bench, make_method
from training.linear_probe import ProbeSettings, choose_head, frozen_features, logistic_regression
from training.model import PretrainedClip
from training.runtime import Runtime


@pytest.fixture
def bench(tiny_clip: PretrainedClip, blobs: Prepared) -> Bench:
    return Bench(tiny_clip, blobs)


@pytest.fixture(scope="module")
def golden() -> dict:
    return json.loads((Path(__file__).parent / "golden/linear_probe.json").read_text())


def problem(golden: dict) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(golden["features"], dtype=torch.float64), torch.tensor(golden["labels"])


@pytest.mark.parametrize("c", ["0.1", "10.0", "1000.0"])
def test_it_is_the_logistic_regression_of_scikit_learn(golden: dict, c: str) -> None:
    features, labels = problem(golden)
    expected = torch.tensor(golden["weights"][c], dtype=torch.float64)
    for start in (torch.zeros_like(expected), torch.ones_like(expected)):
        weights = logistic_regression(features, labels, start, float(c), max_iter=1000)
        assert (weights - expected).abs().max() < 1e-5 * expected.abs().max()


def test_the_gradient_vanishes_at_the_solution_however_the_rows_are_cut(golden: dict, monkeypatch) -> None:
    features, labels = problem(golden)
    whole = logistic_regression(features, labels, torch.zeros(6, 4), 10.0, max_iter=1000)
    weights = whole.clone().requires_grad_()
    (F.cross_entropy(features @ weights, labels) + weights.square().sum() / (2 * 10.0 * len(labels))).backward()
    assert weights.grad.abs().max() < 1e-8
    monkeypatch.setattr(solver, "ROWS", 7)
    assert torch.allclose(logistic_regression(features, labels, torch.zeros(6, 4), 10.0, max_iter=1000), whole)


def test_the_head_is_that_of_the_best_validation_accuracy_then_nll(golden: dict) -> None:
    features, labels = problem(golden)
    train, val = (features[:28], labels[:28]), (features[28:], labels[28:])
    scores = {}
    for c in ProbeSettings().cs:
        logits = val[0] @ logistic_regression(*train, torch.zeros(6, 4), c, 1000)
        accuracy = (logits.argmax(dim=1) == val[1]).double().mean().item()
        scores[c] = (accuracy, -F.cross_entropy(logits, val[1]).item())
    probe = choose_head(train, val, 4, 100.0, ProbeSettings())
    assert probe.c == max(scores, key=lambda c: scores[c])
    assert (probe.accuracy, -probe.nll) == pytest.approx(scores[probe.c])
    logits = 100.0 * val[0] @ probe.head.double()  # the classifier's own scale: the same probabilities
    assert F.cross_entropy(logits, val[1]).item() == pytest.approx(probe.nll, rel=1e-5)


def test_only_the_head_changes_and_no_step_is_taken(bench: Bench, tmp_path: Path, caplog) -> None:
    with caplog.at_level(logging.INFO):
        result = bench.run("linear_probe", tmp_path, selection="reference_val")
    for name, value in bench.model().state_dict().items():
        assert torch.equal(result.weights[name], value) == (name != "head"), name
    assert (result.selected_step, result.images_seen, len(result.trace)) == (0, 0, 1)
    assert "validation accuracy" in caplog.text


def test_it_fits_the_training_images_better_than_the_zero_shot_head(bench: Bench, tmp_path: Path) -> None:
    model, task = bench.model(), bench.fit(make_method("linear_probe"), tmp_path).task
    features, labels = frozen_features(model, task.images("train"), Runtime())
    assert features.shape == (24, 16)
    zero_shot = F.cross_entropy(model.logits(features), labels)
    make_method("linear_probe", {"cs": [1e4]}).setup(model, task)
    assert F.cross_entropy(model.logits(features), labels) < 0.5 * zero_shot


def test_neither_recipe_nor_seed_matters(bench: Bench, tmp_path: Path) -> None:
    one = bench.run("linear_probe", tmp_path / "one").weights
    recipe = RECIPE.model_copy(update={"lr": 1.0, "label_smoothing": 0.5, "global_batch_size": 4})
    two = bench.run("linear_probe", tmp_path / "two", recipe=recipe, seed=7).weights
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("bad", [{"cs": []}, {"cs": [0.0]}, {"cs": [1.0, 1.0]}, {"cs": [10.0, 1.0]}, {"max_iter": 0}])
def test_bad_settings_are_refused(bad: dict) -> None:
    with pytest.raises(ValidationError):
        methods.load("linear_probe").Config.model_validate(bad)


def test_a_solver_that_stops_early_says_so(golden: dict, caplog) -> None:
    features, labels = problem(golden)
    with caplog.at_level(logging.WARNING):
        best = logistic_regression(features, labels, torch.zeros(6, 4), 1e3, max_iter=1000)
    assert not caplog.records
    weights = logistic_regression(features, labels, torch.zeros(6, 4), 1e3, max_iter=3).requires_grad_()

    def objective(of: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(features.double() @ of, labels) + of.square().sum() / (2 * 1e3 * len(labels))

    objective(weights).backward()
    bound = float(weights.grad.square().sum()) * 1e3 * len(labels) / 2
    assert f"with C 1000 has not converged in 3 iterations of L-BFGS (at most {bound:.1e} nats above" in caplog.text
    assert 0 < float(objective(weights.detach()) - objective(best)) <= bound


def test_a_solver_that_is_almost_at_its_minimum_says_nothing(golden: dict, caplog) -> None:
    """Its gradient never gets to the tolerance where little pulls weights back, which changes no prediction."""
    features, labels = problem(golden)
    best = logistic_regression(features, labels, torch.zeros(6, 4), 1e3, max_iter=1000)
    logistic_regression(features, labels, best + 1e-7, 1e3, max_iter=1)
    assert not caplog.records
