"""Schedule, phases and parameter coverage."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from training.config import Recipe
from training.optim import (
    PhaseError,
    check_phases,
    freeze_all_but,
    lr_factor,
    make_optimizer,
    phase_bounds,
    without_head,
)
from training.types import Phase


def test_the_rate_warms_up_linearly_and_falls_as_a_cosine_to_zero() -> None:
    factors = [lr_factor(step, 100, 0.1) for step in range(100)]
    assert factors[0] == 0
    assert factors[5] == pytest.approx(0.5)
    assert factors[10] == pytest.approx(1.0)
    assert factors[55] == pytest.approx(0.5)
    assert factors[99] == pytest.approx(0.5 * (1 + math.cos(math.pi * 89 / 90)))
    assert lr_factor(0, 100, 0.0) == 1.0


def test_phases_share_all_steps() -> None:
    phases = [Phase(name=n, trained=("w",), share=s) for n, s in (("a", 1 / 3), ("b", 1 / 3), ("c", 1 / 3))]
    assert phase_bounds(phases, 10) == [(0, 3), (3, 7), (7, 10)]


def test_a_phase_without_a_step_is_refused() -> None:
    phases = [Phase(name="a", trained=("w",), share=0.01), Phase(name="b", trained=("w",), share=0.99)]
    with pytest.raises(PhaseError, match="'a' gets no step of 10"):
        phase_bounds(phases, 10)


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ([Phase(name="a", trained=("weight",), share=0.5)], "add up to 1"),
        ([Phase(name="a", trained=())], "trains nothing"),
        ([Phase(name="a", trained=("weight", "wieght"))], "'wieght', which is no parameter"),
    ],
)
def test_phases_that_do_not_fit_the_model_are_refused(phases: list[Phase], message: str) -> None:
    with pytest.raises(PhaseError, match=message):
        check_phases(phases, nn.Linear(2, 2))


def test_a_frozen_head_leaves_the_rest_of_each_phase() -> None:
    assert without_head([Phase(name="a", trained=("visual.w", "head"))]) == [Phase(name="a", trained=("visual.w",))]
    with pytest.raises(PhaseError, match="leaves phase 'b' nothing to train"):
        without_head([Phase(name="b", trained=("head",))])


def test_what_no_phase_names_is_frozen() -> None:
    model = nn.Linear(2, 2)
    assert freeze_all_but(model, ("bias",)) == [model.bias]
    assert not model.weight.requires_grad


def test_adam_and_adamw_differ_only_in_weight_decay() -> None:
    results = {}
    for kind in ("adam", "adamw"):
        for decay in (0.0, 0.1):
            weight = nn.Parameter(torch.ones(3))
            phase = Phase(name="a", trained=("w",))
            optimizer = make_optimizer([weight], phase, Recipe(optimizer=kind, weight_decay=decay, lr=0.1))
            weight.grad = torch.tensor([1.0, -2.0, 0.5])
            optimizer.step()
            results[kind, decay] = weight.detach().clone()
    assert torch.equal(results["adam", 0.0], results["adamw", 0.0])
    assert torch.allclose(results["adamw", 0.1], results["adamw", 0.0] - 0.1 * 0.1)
    assert not torch.allclose(results["adam", 0.1], results["adamw", 0.1])
