"""The average against PyTorch's, started where the paper starts it, and its limits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import methods
from datasets.shards import Prepared
from methods.ema import average_into
from tests.bench import RECIPE, Bench, make_method
from training.model import PretrainedClip


@pytest.fixture
def bench(tiny_clip: PretrainedClip, blobs: Prepared) -> Bench:
    return Bench(tiny_clip, blobs)


def walk(model: nn.Linear) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn(parameter.shape, dtype=torch.float64)


def test_it_is_the_closed_form_and_torch_started_at_theta_0() -> None:
    torch.manual_seed(0)
    model, decay, steps = nn.Linear(3, 2).double(), 0.9, 20
    theirs, late = (AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay)) for _ in range(2))
    theirs.update_parameters(model)  # the first update copies: here theta_0, in `late` theta_1
    shadow = [parameter.detach().clone() for parameter in model.parameters()]
    trajectory = [model.weight.detach().clone()]
    for _ in range(steps):
        walk(model)
        trajectory.append(model.weight.detach().clone())
        average_into(shadow, model.parameters(), decay)
        theirs.update_parameters(model)
        late.update_parameters(model)
    expected = decay**steps * trajectory[0]
    for t in range(1, steps + 1):
        expected = expected + (1 - decay) * decay ** (steps - t) * trajectory[t]
    assert torch.allclose(shadow[0], expected, rtol=1e-12)
    for mine, other in zip(shadow, theirs.module.parameters(), strict=True):
        assert torch.allclose(mine, other, rtol=1e-12)
    assert not torch.allclose(shadow[0], late.module.weight, rtol=1e-2)


def test_decay_zero_is_ft_bit_for_bit(bench: Bench, tmp_path: Path) -> None:
    ft = bench.run("ft", tmp_path / "ft", selection="reference_val")
    ema = bench.run("ema", tmp_path / "ema", {"decay": 0.0}, selection="reference_val")
    assert all(torch.equal(ft.weights[name], ema.weights[name]) for name in ft.weights)
    assert ft.trace == ema.trace


def test_it_averages_the_trajectory_of_ft_from_the_zero_shot_weights_on(bench: Bench, tmp_path: Path) -> None:
    fit = bench.fit(make_method("ft"), tmp_path / "ft")
    trajectory: list[torch.Tensor] = []
    fit.method.after_step = lambda model, _: trajectory.append(model.head.detach().clone())  # type: ignore[method-assign]
    fit.run()
    expected = bench.model().head.detach()
    for head in trajectory:
        expected = 0.8 * expected + 0.2 * head
    assert len(trajectory) == RECIPE.num_steps
    ema = bench.run("ema", tmp_path / "ema", {"decay": 0.8}).weights
    assert torch.allclose(ema["head"], expected, rtol=1e-5, atol=1e-7)


def test_a_decay_near_one_stays_zero_shot(bench: Bench, tmp_path: Path) -> None:
    weights = bench.run("ema", tmp_path, {"decay": 1 - 1e-9}).weights
    for name, value in bench.model().state_dict().items():
        assert torch.allclose(weights[name], value, atol=1e-6)


def test_buffers_are_copied(bench: Bench, tmp_path: Path) -> None:
    method = make_method("ema", {"decay": 0.5})
    fit = bench.fit(method, tmp_path)
    method.setup(fit.model, fit.task)
    fit.model.logit_scale.fill_(7.0)
    method.after_step(fit.model, 1)
    assert method.export(fit.model).logit_scale.item() == 7.0


@pytest.mark.parametrize("bad", [{"decay": 1.0}, {"decay": -0.1}, {"decay": float("nan")}, {"strength": 1}])
def test_bad_settings_are_refused(bad: dict) -> None:
    with pytest.raises(ValidationError):
        methods.load("ema").Config.model_validate(bad)
