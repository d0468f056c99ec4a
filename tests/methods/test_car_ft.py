"""The divergence against an independent reference, its limit at large temperature, and the four cells of the ablation."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

import methods
from datasets.shards import Prepared
from methods.car_ft import contexts
from tests.bench import Bench, make_method
from training.model import PretrainedClip
from training.penalties import energy_gap, energy_kld


@pytest.fixture
def bench(tiny_clip: PretrainedClip, blobs: Prepared) -> Bench:
    return Bench(tiny_clip, blobs)


def unit(rows: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return F.normalize(torch.randn(rows, 6, generator=torch.Generator().manual_seed(seed), dtype=dtype), dim=1)


def test_the_divergence_is_that_of_plain_softmaxes() -> None:
    now, before, texts, tau = unit(4, 0), unit(4, 1), unit(9, 2), 2.0

    def softmax(image: Tensor) -> list[float]:
        powers = [math.exp(5.0 * float(image @ text) / tau) for text in texts]
        return [power / sum(powers) for power in powers]

    total = 0.0
    for one, two in zip(before, now, strict=True):
        total += sum(p * math.log(p / q) for p, q in zip(softmax(one), softmax(two), strict=True))
    assert float(energy_kld(now, before, texts, 5.0, tau)) == pytest.approx(tau**2 * total / 4, rel=1e-12)


def test_its_gradient_is_that_of_the_cross_entropy_of_the_paper() -> None:
    now, before, texts, tau = unit(4, 0).requires_grad_(), unit(4, 1), unit(9, 2), 2.0
    (ours,) = torch.autograd.grad(energy_kld(now, before, texts, 5.0, tau), now)
    v, v0 = 5.0 * now @ texts.T, 5.0 * before @ texts.T
    eq20 = -(tau**2) * (F.softmax(v0 / tau, 1) * F.log_softmax(v / tau, 1)).sum(1).mean()
    (theirs,) = torch.autograd.grad(eq20, now)
    assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_at_large_temperature_it_is_the_centred_squared_gap(dtype: torch.dtype) -> None:
    """Eq. 21 of the Lipsum-FT paper; the centred gap is the plain one with the mean text taken off."""
    now, before, texts, s = unit(5, 0, dtype), unit(5, 1, dtype), unit(9, 2, dtype), 10.0
    delta = s * (now - before) @ texts.T
    eq21 = delta.square().sum(1).mean() / (2 * 9) - delta.sum(1).square().mean() / (2 * 81)
    centred = energy_gap(now, before, texts - texts.mean(0), s)
    assert float(centred) == pytest.approx(float(eq21), rel=1e-5)
    errors = [abs(float(energy_kld(now, before, texts, s, tau)) / float(eq21) - 1) for tau in (1e1, 1e2, 1e3)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 5e-3
    if dtype == torch.float64:
        assert abs(float(energy_kld(now, before, texts, s, 1e6)) / float(eq21) - 1) < 1e-3


def test_it_vanishes_where_nothing_has_changed_and_ignores_a_shift_of_all_energies() -> None:
    now, texts = unit(4, 0), unit(9, 2)
    assert float(energy_kld(now, now, texts, 100.0)) == 0.0
    direction = torch.eye(6, dtype=torch.float64)[:1]
    along = texts - (texts @ direction.T - 1) * direction  # every text has the same product with `direction`
    assert float(energy_kld(now + direction, now, along, 3.0)) == pytest.approx(0, abs=1e-12)


def test_contexts_are_means_over_the_classes(bench: Bench) -> None:
    text, names = bench.clip.text, ("red", "green")
    found = contexts(text, names, ("a {} thing.", "the {}"))
    assert found.shape == (2, 16)
    for row, template in zip(found, ("a {} thing.", "the {}"), strict=True):
        one, two = (text.encode(text.tokenizer([template.format(name)]))[0] for name in names)
        assert torch.allclose(row, F.normalize(one + two, dim=0), atol=1e-6)


@pytest.mark.parametrize("loss", ["kld", "mse"])
@pytest.mark.parametrize("text", ["context", "random"])
def test_each_cell_is_its_formula_and_strength_zero_is_ft(loss: str, text: str, bench: Bench, tmp_path: Path) -> None:
    method = make_method("car_ft", {"loss": loss, "text": text, "strength": 0.5})
    fit = bench.fit(method, tmp_path / "one")
    method.setup(fit.model, fit.task)
    batch = bench.normalise(next(fit.stream.batches(0, 1)))
    before = fit.model.encode_image(batch.images)
    with torch.no_grad():
        for parameter in fit.model.visual.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    if text == "context":
        texts = contexts(bench.clip.text, bench.prepared.classnames, bench.prepared.templates)
    else:
        texts = bench.clip.text.encode(bench.clip.text.random_tokens(80, 8, torch.Generator().manual_seed(0)))
    scale = float(fit.model.logit_scale)
    v0, v = (scale * features @ texts.T for features in (before, fit.model.encode_image(batch.images)))
    if loss == "mse":
        expected = F.mse_loss(v, v0) / 2
    else:
        expected = F.kl_div(v.log_softmax(1), v0.log_softmax(1), reduction="batchmean", log_target=True)
    losses = method.loss(fit.model, batch)
    assert losses["car"].item() > 1e-3
    assert losses["car"].item() == pytest.approx(expected.item(), rel=1e-4)
    assert losses["loss"].item() == pytest.approx(losses["ce"].item() + 0.5 * losses["car"].item(), rel=1e-6)
    ft = bench.run("ft", tmp_path / "ft").weights
    off = bench.run("car_ft", tmp_path / "off", {"loss": loss, "text": text, "strength": 0.0}).weights
    assert all(torch.equal(ft[name], off[name]) for name in ft)


def test_the_cell_of_squared_gaps_on_random_texts_is_lipsum_ft(bench: Bench, tmp_path: Path) -> None:
    lipsum = bench.run("lipsum_ft", tmp_path / "lipsum").weights
    cell = bench.run("car_ft", tmp_path / "cell", {"loss": "mse", "text": "random"}).weights
    assert all(torch.equal(lipsum[name], cell[name]) for name in lipsum)


@pytest.mark.parametrize(
    "bad",
    [
        {"strength": -1},
        {"temperature": 0},
        {"loss": "kl"},
        {"text": "fixed"},
        {"num_texts": 40},
        {"loss": "mse", "temperature": 2},
        {"text": "random", "num_texts": 1},
        {"text": "random", "token_length": 0},
    ],
)
def test_bad_settings_are_refused(bad: dict) -> None:
    with pytest.raises(ValidationError):
        methods.load("car_ft").Config.model_validate(bad)
