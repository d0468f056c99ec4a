"""The penalty against official code, and its limits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

import methods
from datasets.shards import Prepared
from methods.l2sp import half_squared_distance
from tests.bench import Bench, make_method
from training.model import PretrainedClip


@pytest.fixture
def bench(tiny_clip: PretrainedClip, blobs: Prepared) -> Bench:
    return Bench(tiny_clip, blobs)


def test_twice_the_penalty_is_the_official_one() -> None:
    golden = json.loads((Path(__file__).parent / "golden/l2sp.json").read_text())
    start = {name: torch.tensor(value, dtype=torch.float64) for name, value in golden["start"].items()}
    weights = {
        name: torch.tensor(value, dtype=torch.float64).requires_grad_() for name, value in golden["weights"].items()
    }
    penalty = 2 * half_squared_distance(weights.values(), start.values())
    penalty.backward()
    assert penalty.item() == pytest.approx(golden["output"], rel=1e-12)
    for name, gradient in golden["gradient"].items():
        assert torch.allclose(weights[name].grad, torch.tensor(gradient, dtype=torch.float64), rtol=1e-12)


def test_strength_zero_is_ft_bit_for_bit(bench: Bench, tmp_path: Path) -> None:
    ft = bench.run("ft", tmp_path / "ft").weights
    l2sp = bench.run("l2sp", tmp_path / "l2sp", {"strength": 0.0}).weights
    assert all(torch.equal(ft[name], l2sp[name]) for name in ft)


def test_every_trained_parameter_is_pulled_back_by_its_distance(bench: Bench, tmp_path: Path) -> None:
    method = make_method("l2sp", {"strength": 0.3})
    fit = bench.fit(method, tmp_path)
    method.setup(fit.model, fit.task)
    batch = bench.normalise(next(fit.stream.batches(0, 1)))
    assert method.loss(fit.model, batch)["l2sp"].item() == 0.0
    start = {name: p.detach().clone() for name, p in fit.model.named_parameters()}
    with torch.no_grad():
        for parameter in fit.model.parameters():
            parameter += 0.1
    total = method.loss(fit.model, batch)
    count = sum(value.numel() for value in start.values())
    assert total["l2sp"].item() == pytest.approx(0.5 * 0.01 * count, rel=1e-4)
    assert total["loss"].item() == pytest.approx(total["ce"].item() + 0.3 * total["l2sp"].item(), rel=1e-6)
    (pull,) = torch.autograd.grad(
        total["loss"] - method.cross_entropy(fit.model(batch.images), batch.labels), fit.model.head
    )
    assert torch.allclose(pull, 0.3 * (fit.model.head - start["head"]), atol=1e-5)


def test_a_strong_penalty_keeps_the_weights_near(bench: Bench, tmp_path: Path) -> None:
    zero = bench.model().state_dict()
    moved = {}
    for strength in (0.0, 100.0):
        weights = bench.run("l2sp", tmp_path / f"{strength}", {"strength": strength}).weights
        moved[strength] = sum(float((weights[name] - zero[name]).square().sum()) for name in zero)
    assert moved[100.0] < 0.5 * moved[0.0]


@pytest.mark.parametrize("bad", [{"strength": -1}, {"strength": float("inf")}, {"alpha": 1}])
def test_bad_settings_are_refused(bad: dict) -> None:
    with pytest.raises(ValidationError):
        methods.load("l2sp").Config.model_validate(bad)
