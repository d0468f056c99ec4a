"""SPD against the official optimiser, and its limits."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pydantic import ValidationError
from torch import nn

import methods
from datasets.shards import Prepared
from methods.spd import selective_projection
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

    def forward(self, images):
        return torch.zeros(1, 2)


@pytest.mark.parametrize("strength", ["0.5", "1.0"])
def test_it_equals_the_official_optimiser(strength: str) -> None:
    numbers = golden("spd")
    model = Tensors(numbers["start"])
    method = make_method("spd", {"strength": float(strength)})
    method.setup(model, SimpleNamespace(label_smoothing=0.0))
    trained = [p for name, p in model.named_parameters() if name != "head"]
    optimizer = torch.optim.Adam(trained, lr=numbers["lr"])
    batch = SimpleNamespace(images=None, labels=torch.zeros(1, dtype=torch.int64))
    held = []
    for step, (gradients, after) in enumerate(zip(numbers["gradients"], numbers["after"][strength], strict=True), 1):
        method.loss(model, batch)
        for name, gradient in gradients.items():
            model.get_parameter(name).grad = torch.tensor(gradient)
        optimizer.step()
        method.after_step(model, step)
        for name, value in after.items():
            torch.testing.assert_close(model.get_parameter(name).data, torch.tensor(value), rtol=1e-5, atol=1e-6)
        held.append(float(method.share))
    assert 0 in held
    assert max(held) > 0.5  # both sides of the condition have occurred


def test_at_strength_1_a_tensor_that_is_led_back_goes_no_farther_away() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        start, previous, step, gradient = (torch.randn(6, generator=generator, dtype=torch.float64) for _ in range(4))
        updated = previous + step
        new, held = selective_projection(updated, previous, start, gradient, 1.0)
        if (gradient * (previous - start)).sum() > 0:
            expected = min(float((previous - start).norm()), float((updated - start).norm()))
            assert float((new - start).norm()) == pytest.approx(expected)
        else:
            assert not held
            assert torch.equal(new, updated)


def test_at_the_start_nothing_is_held_and_nothing_divides_by_zero() -> None:
    start, gradient = torch.ones(3), torch.ones(3)
    for updated in (start, start + 1):
        new, held = selective_projection(updated, start, start, gradient, 1.0)
        assert torch.equal(new, updated)
        assert not held
    new, _ = selective_projection(start, start + 1, start, gradient, 1.0)  # back at the start exactly
    assert torch.equal(new, start)


def test_strength_zero_is_ft_bit_for_bit(bench: Bench, tmp_path: Path) -> None:
    ft = bench.run("ft", tmp_path / "ft").weights
    assert same(ft, bench.run("spd", tmp_path / "spd", {"strength": 0.0}).weights)


def test_it_stays_closer_to_the_start_than_ft(bench: Bench, tmp_path: Path) -> None:
    start = bench.model().state_dict()
    distances = []
    for name in ("ft", "spd"):
        weights = bench.run(name, tmp_path / name, recipe=RECIPE.model_copy(update={"num_steps": 24})).weights
        distances.append(sum(float((weights[key] - start[key]).square().sum()) for key in weights))
    assert distances[1] < distances[0]


def test_the_recipes_weight_decay_is_not_used(bench: Bench, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"optimizer": "adamw", "weight_decay": 0.5})
    plain = bench.run("spd", tmp_path / "plain", recipe=RECIPE.model_copy(update={"optimizer": "adamw"})).weights
    assert same(plain, bench.run("spd", tmp_path / "decay", recipe=recipe).weights)


@pytest.mark.parametrize("bad", [{"strength": -1}, {"weight_decay": 1}])
def test_bad_settings_are_refused(bad: dict) -> None:
    with pytest.raises(ValidationError):
        methods.load("spd").Config.model_validate(bad)
