"""FTP against the official optimiser, and its limits."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pydantic import ValidationError
from torch import nn

import methods
from datasets.shards import Prepared
from methods.ftp import adam_step, radius_gradient, row_norms
from tests.bench import RECIPE, Bench, make_method
from tests.methods.post_hoc import golden, same
from training.model import PretrainedClip


@pytest.fixture
def bench(tiny_clip: PretrainedClip, blobs: Prepared) -> Bench:
    return Bench(tiny_clip, blobs)


class Tensors(nn.Module):
    """The tensors on which the official optimiser was run."""

    def __init__(self, start: dict) -> None:
        super().__init__()
        for name, value in start.items():
            self.register_parameter(name, nn.Parameter(torch.tensor(value)))
        self.head = nn.Parameter(torch.zeros(1), requires_grad=False)


@pytest.mark.parametrize("index", [0, 1])
def test_it_equals_the_official_optimiser(index: int) -> None:
    numbers = golden("ftp")
    run = numbers["runs"][index]
    model = Tensors(numbers["start"])
    method = make_method("ftp", {"k": run["k"], "project_head": False})
    method.setup(model, SimpleNamespace(label_smoothing=0.0))
    trained = [p for name, p in model.named_parameters() if name != "head"]
    optimizer = torch.optim.AdamW(trained, lr=numbers["lr"], weight_decay=run["weight_decay"])
    ratios = []
    for step, (gradients, after) in enumerate(zip(numbers["gradients"], run["after"], strict=True), 1):
        for name, gradient in gradients.items():
            model.get_parameter(name).grad = torch.tensor(gradient)
        optimizer.step()
        method.after_step(model, step)
        for name, value in after.items():
            torch.testing.assert_close(model.get_parameter(name).data, torch.tensor(value), rtol=1e-5, atol=1e-6)
        ratios.append(float(method.ratio))
    torch.testing.assert_close(method.radii, torch.tensor(run["radii"]), rtol=1e-5, atol=1e-8)
    assert 0.1 < max(ratios) < 1


def test_rows_are_the_first_axis_and_a_vector_is_one_row() -> None:
    assert torch.allclose(row_norms(torch.tensor([[1.0, -2.0], [0.0, 4.0]])), torch.tensor([[3.0], [4.0]]))
    assert torch.allclose(row_norms(torch.tensor([1.0, -2.0])), torch.tensor([3.0]))
    assert row_norms(torch.ones(2, 3, 4, 5)).shape == (2, 1, 1, 1)


def test_the_radius_gradient_is_the_derivative_of_the_loss_in_the_radius() -> None:
    generator = torch.Generator().manual_seed(0)
    start, offset, slope = (torch.randn(3, 4, generator=generator, dtype=torch.float64) for _ in range(3))
    radius = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    ((start + radius / row_norms(offset) * offset) * slope).sum().backward()
    assert float(radius_gradient(slope, offset)) == pytest.approx(float(radius.grad))


def test_the_first_move_of_a_radius_is_counted_as_adams_second() -> None:
    one = torch.ones(1)
    moved, _, _ = adam_step(0 * one, -3 * one, 0 * one, 0 * one, 2, 1e-2)
    assert float(moved) == pytest.approx(0.0074, abs=5e-5)


def test_the_first_step_returns_to_the_start(bench: Bench, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"num_steps": 1, "warmup_fraction": 0.0})
    weights = bench.run("ftp", tmp_path, recipe=recipe).weights
    start = bench.model().state_dict()
    assert all(torch.allclose(weights[name], start[name], rtol=0, atol=2e-8) for name in start)


def test_radii_that_never_bind_leave_ft_bit_for_bit(bench: Bench, tmp_path: Path) -> None:
    """The first learning rate is 0, so that the first step, which returns to the start, takes nothing away."""
    method = make_method("ftp")
    method._learn_radii = lambda parameters, step: method.radii.fill_(torch.inf)
    free = bench.fit(method, tmp_path / "ftp").run().weights
    assert same(free, bench.run("ft", tmp_path / "ft").weights)


def test_a_smaller_k_lets_it_go_farther(bench: Bench, tmp_path: Path) -> None:
    start, distances = bench.model().state_dict(), []
    for k in (1.0, 0.0):
        weights = bench.run("ftp", tmp_path / str(k), {"k": k}, recipe=RECIPE.model_copy(update={"lr": 3e-3})).weights
        distances.append(sum(float((weights[key] - start[key]).square().sum()) for key in weights))
    assert distances[1] >= distances[0]


def test_the_head_can_be_left_out(bench: Bench, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"num_steps": 2, "warmup_fraction": 0.0, "eval_every": 2})
    free = bench.run("ftp", tmp_path / "free", {"project_head": False}, recipe=recipe).weights
    assert not same(free, bench.run("ftp", tmp_path / "all", recipe=recipe).weights)
    start = bench.model().state_dict()
    assert float((free["head"] - start["head"]).abs().max()) > 5e-4


@pytest.mark.parametrize("bad", [{"k": 1.1}, {"k": -0.1}, {"radius_lr": 0}, {"lr": 1}])
def test_bad_settings_are_refused(bad: dict) -> None:
    with pytest.raises(ValidationError):
        methods.load("ftp").Config.model_validate(bad)


def test_a_head_that_the_recipe_freezes_is_left_alone(bench: Bench, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"freeze_head": True, "lr": 3e-3})
    fit = bench.fit(make_method("ftp"), tmp_path / "frozen", recipe=recipe)
    weights = fit.run().weights
    assert torch.equal(weights["head"], bench.head)
    assert not same(weights, dict(bench.model().state_dict()))
    without = bench.fit(make_method("ftp", {"project_head": False}), tmp_path / "without", recipe=recipe)
    assert same(weights, without.run().weights)  # a tensor that is not trained does not matter to the others
    assert float(fit.method.ratio) == float(without.method.ratio)
