"""The penalty against an independent reference, and its limits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

import methods
from datasets.shards import Prepared
from methods.feat_kd import squared_distortion
from tests.bench import Bench, make_method
from training.model import PretrainedClip


@pytest.fixture
def bench(tiny_clip: PretrainedClip, blobs: Prepared) -> Bench:
    return Bench(tiny_clip, blobs)


def test_the_penalty_is_the_mean_squared_distance() -> None:
    generator = torch.Generator().manual_seed(0)
    now, before = (F.normalize(torch.randn(4, 6, generator=generator, dtype=torch.float64), dim=1) for _ in range(2))
    total = sum((now[image, d].item() - before[image, d].item()) ** 2 for image in range(4) for d in range(6))
    assert squared_distortion(now, before).item() == pytest.approx(total / 4, rel=1e-12)
    # unit vectors: 2 - 2 cos
    cosine = F.cosine_similarity(now, before)
    assert squared_distortion(now, before).item() == pytest.approx((2 - 2 * cosine).mean().item(), rel=1e-12)


def test_strength_zero_is_ft_bit_for_bit(bench: Bench, tmp_path: Path) -> None:
    ft = bench.run("ft", tmp_path / "ft").weights
    feat_kd = bench.run("feat_kd", tmp_path / "feat_kd", {"strength": 0.0}).weights
    assert all(torch.equal(ft[name], feat_kd[name]) for name in ft)


def test_the_penalty_vanishes_at_the_start_and_is_added_with_its_strength(bench: Bench, tmp_path: Path) -> None:
    method = make_method("feat_kd", {"strength": 3.0})
    fit = bench.fit(method, tmp_path)
    method.setup(fit.model, fit.task)
    batch = bench.normalise(next(fit.stream.batches(0, 1)))
    assert method.loss(fit.model, batch)["feat_kd"].item() < 1e-12
    with torch.no_grad():
        for parameter in fit.model.visual.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    losses = method.loss(fit.model, batch)
    gap = (fit.model.encode_image(batch.images) - bench.model().encode_image(batch.images)).norm(dim=1)
    assert losses["feat_kd"].item() == pytest.approx(gap.square().mean().item(), rel=1e-4)
    assert losses["loss"].item() == pytest.approx((losses["ce"] + 3 * losses["feat_kd"]).item(), rel=1e-6)


def test_it_holds_the_features(bench: Bench, tmp_path: Path) -> None:
    images = bench.normalise(next(bench.fit(make_method("ft"), tmp_path).stream.batches(0, 1))).images
    moved = {}
    for strength in (0.0, 1000.0):
        model = bench.model()
        before = model.encode_image(images)
        model.load_state_dict(bench.run("feat_kd", tmp_path / f"{strength}", {"strength": strength}).weights)
        moved[strength] = squared_distortion(model.encode_image(images), before).item()
    assert moved[1000.0] < 0.5 * moved[0.0]


@pytest.mark.parametrize("bad", [{"strength": -1}, {"strength": float("nan")}, {"lambda": 1}])
def test_bad_settings_are_refused(bad: dict) -> None:
    with pytest.raises(ValidationError):
        methods.load("feat_kd").Config.model_validate(bad)
