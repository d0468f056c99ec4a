"""The distillation term against an independent reference, and its limits."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

import methods
from datasets.shards import Prepared
from methods.kd import distillation
from tests.bench import Bench, make_method
from training.model import PretrainedClip


@pytest.fixture
def bench(tiny_clip: PretrainedClip, blobs: Prepared) -> Bench:
    return Bench(tiny_clip, blobs)


def logits(count: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [20 * torch.randn(4, 5, generator=generator, dtype=torch.float64) for _ in range(count)]


@pytest.mark.parametrize("tau", [1.0, 3.0])
def test_it_is_the_cross_entropy_to_the_teacher(tau: float) -> None:
    student, teacher = logits()
    total = 0.0
    for row, target in zip(student.tolist(), teacher.tolist(), strict=True):
        z, z0 = (sum(math.exp(v / tau) for v in values) for values in (row, target))
        total -= sum(math.exp(t / tau) / z0 * (v / tau - math.log(z)) for v, t in zip(row, target, strict=True))
    assert distillation(student, teacher, tau).item() == pytest.approx(tau**2 * total / 4, rel=1e-12)


@pytest.mark.parametrize("tau", [1.0, 3.0])
def test_its_gradient_is_that_of_the_divergence_from_the_teacher(tau: float) -> None:
    student, teacher = logits()
    student.requires_grad_()
    kl = tau**2 * F.kl_div(
        F.log_softmax(student / tau, dim=1), F.log_softmax(teacher / tau, dim=1), reduction="batchmean", log_target=True
    )
    kd = distillation(student, teacher, tau)
    assert torch.allclose(*(torch.autograd.grad(loss, student)[0] for loss in (kd, kl)), rtol=1e-10)
    assert (kd - distillation(teacher, teacher, tau)).item() == pytest.approx(kl.item(), rel=1e-10)


def test_large_gaps_stay_finite_in_float32() -> None:
    student = torch.tensor([[300.0, -300.0]], requires_grad=True)
    loss = distillation(student, -student.detach(), 1.0)
    loss.backward()
    assert loss.item() == pytest.approx(600.0)
    assert torch.isfinite(student.grad).all()


def test_strength_zero_is_ft_bit_for_bit(bench: Bench, tmp_path: Path) -> None:
    ft = bench.run("ft", tmp_path / "ft").weights
    kd = bench.run("kd", tmp_path / "kd", {"strength": 0.0}).weights
    assert all(torch.equal(ft[name], kd[name]) for name in ft)


def test_at_the_start_the_teacher_is_met(bench: Bench, tmp_path: Path) -> None:
    method = make_method("kd", {"strength": 2.0})
    fit = bench.fit(method, tmp_path)
    method.setup(fit.model, fit.task)
    batch = bench.normalise(next(fit.stream.batches(0, 1)))
    losses = method.loss(fit.model, batch)
    assert losses["kl"].item() == pytest.approx(0.0, abs=1e-5)
    assert losses["loss"].item() == pytest.approx((losses["ce"] + 2 * losses["kd"]).item(), rel=1e-6)
    losses["loss"].backward()
    plain = bench.model()
    F.cross_entropy(plain(batch.images), batch.labels).backward()
    for parameter, other in zip(fit.model.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(parameter.grad, other.grad, atol=1e-4)


def test_it_keeps_the_predictions_near_the_zero_shot_ones(bench: Bench, tmp_path: Path) -> None:
    images = bench.normalise(next(bench.fit(make_method("ft"), tmp_path).stream.batches(0, 1))).images
    before = bench.model()(images)
    gaps = {}
    for strength in (0.0, 100.0):
        model = bench.model()
        model.load_state_dict(bench.run("kd", tmp_path / f"{strength}", {"strength": strength}).weights)
        gaps[strength] = (distillation(model(images), before, 1.0) - distillation(before, before, 1.0)).item()
    assert gaps[100.0] < 0.5 * gaps[0.0]


@pytest.mark.parametrize("bad", [{"strength": -1}, {"temperature": 0}, {"temperature": float("inf")}, {"tau": 1}])
def test_bad_settings_are_refused(bad: dict) -> None:
    with pytest.raises(ValidationError):
        methods.load("kd").Config.model_validate(bad)
