"""The penalty against the official code's numbers and an independent reference, and its limits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

import methods
from datasets.shards import Prepared
from methods.lipsum_ft import MOMENT_TEXTS
from tests.bench import Bench, Killed, kill_at, make_method
from training.model import ModelError, PretrainedClip, TextEncoder
from training.penalties import energy_gap, expected_energy_gap, text_moment

GOLDEN = json.loads((Path(__file__).parent / "golden/lipsum_ft.json").read_text())


@pytest.fixture
def bench(tiny_clip: PretrainedClip, blobs: Prepared) -> Bench:
    return Bench(tiny_clip, blobs)


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: f"{case['dtype']}{'-near' * case['near']}")
def test_the_penalty_and_its_gradient_are_those_of_the_official_code(case: dict) -> None:
    dtype = getattr(torch, case["dtype"])
    now, before, texts = (torch.tensor(case[name], dtype=dtype) for name in ("features", "reference", "texts"))
    penalty = energy_gap(now.requires_grad_(), before, texts, GOLDEN["logit_scale"])
    assert penalty.item() == pytest.approx(case["penalty"], rel=1e-5)
    (gradient,) = torch.autograd.grad(penalty, now)
    expected = torch.tensor(case["grad_features"], dtype=dtype)
    # Relative to the largest entry: in float32 the sums over texts cancel in the small ones.
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


def test_the_penalty_is_half_the_mean_squared_gap_of_scaled_energies() -> None:
    generator = torch.Generator().manual_seed(0)
    now, before, texts = (
        F.normalize(torch.randn(n, 6, generator=generator, dtype=torch.float64), dim=1) for n in (4, 4, 9)
    )
    total = 0.0
    for image in range(4):
        for text in range(9):
            v1 = 100.0 * sum(float(now[image, d]) * float(texts[text, d]) for d in range(6))
            v0 = 100.0 * sum(float(before[image, d]) * float(texts[text, d]) for d in range(6))
            total += (v1 - v0) ** 2
    assert float(energy_gap(now, before, texts, 100.0)) == pytest.approx(total / (2 * 9 * 4), rel=1e-12)


def test_the_scale_stands_inside_the_square() -> None:
    features, texts = F.normalize(torch.randn(3, 6), dim=1), F.normalize(torch.randn(5, 6), dim=1)
    one, hundred = (energy_gap(features, features.flip(0), texts, s) for s in (1.0, 100.0))
    assert float(hundred) == pytest.approx(1e4 * float(one), rel=1e-4)


def test_strength_zero_is_ft_bit_for_bit(bench: Bench, tmp_path: Path) -> None:
    ft = bench.run("ft", tmp_path / "ft").weights
    lipsum = bench.run("lipsum_ft", tmp_path / "lipsum", {"strength": 0.0}).weights
    assert all(torch.equal(ft[name], lipsum[name]) for name in ft)


def test_the_penalty_and_its_gradient_vanish_at_the_start(bench: Bench, tmp_path: Path) -> None:
    method = make_method("lipsum_ft")
    fit = bench.fit(method, tmp_path)
    method.setup(fit.model, fit.task)
    batch = bench.normalise(next(fit.stream.batches(0, 1)))
    losses = method.loss(fit.model, batch)
    # Not exactly 0: with and without gradient, attention may take different kernels.
    assert losses["lipsum"].item() < 1e-9
    losses["loss"].backward()
    gradients = {name: parameter.grad for name, parameter in fit.model.named_parameters()}
    plain = bench.model()
    bench_loss = torch.nn.functional.cross_entropy(plain(batch.images), batch.labels)
    bench_loss.backward()
    assert all(torch.allclose(gradients[name], p.grad, atol=1e-5) for name, p in plain.named_parameters())


def test_it_holds_the_energies_of_random_texts(bench: Bench, tmp_path: Path) -> None:
    texts = bench.clip.text.encode(bench.clip.text.random_tokens(200, 8, torch.Generator().manual_seed(9)))
    images = bench.normalise(next(bench.fit(make_method("ft"), tmp_path).stream.batches(0, 1))).images
    gaps = {}
    for name, settings in (("ft", {}), ("lipsum_ft", {"strength": 10.0})):
        model = bench.model()
        before = model.encode_image(images)
        model.load_state_dict(bench.run(name, tmp_path / name, settings).weights)
        gaps[name] = energy_gap(model.encode_image(images), before, texts, 1.0).item()
    assert gaps["lipsum_ft"] < 0.5 * gaps["ft"]


def test_texts_are_fresh_each_step_and_alike_for_equal_seeds(bench: Bench, tmp_path: Path) -> None:
    drawn: dict[int, list[torch.Tensor]] = {}
    for run, seed in enumerate((0, 0, 1)):
        method = make_method("lipsum_ft")
        fit = bench.fit(method, tmp_path, seed=seed)
        method.setup(fit.model, fit.task)
        drawn[run] = [bench.clip.text.random_tokens(3, 8, method.generator) for _ in range(2)]
    assert torch.equal(drawn[0][0], drawn[1][0])
    assert not torch.equal(drawn[0][0], drawn[0][1])
    assert not torch.equal(drawn[0][0], drawn[2][0])


def test_too_long_texts_fail_before_training(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="token_length 15"):
        bench.run("lipsum_ft", tmp_path, {"token_length": 15})
    assert not (tmp_path / "metrics.jsonl").exists()


def test_the_closed_form_is_the_sampled_penalty_of_the_same_texts() -> None:
    generator = torch.Generator().manual_seed(0)
    now, before, texts = (
        F.normalize(torch.randn(n, 6, generator=generator, dtype=torch.float64), dim=1) for n in (4, 4, 9)
    )
    closed = expected_energy_gap(now, before, texts.T @ texts / 9, 100.0)
    assert float(closed) == pytest.approx(float(energy_gap(now, before, texts, 100.0)), rel=1e-12)


def test_the_closed_form_is_the_limit_of_many_texts(bench: Bench) -> None:
    """Fresh texts, so both sides have an error of about 1 % where M is 20,000."""
    text, generator = bench.clip.text, torch.Generator().manual_seed(123)
    now, before = (F.normalize(torch.randn(6, 16, generator=generator), dim=1).requires_grad_() for _ in range(2))
    closed = expected_energy_gap(now, before, text_moment(text, 8, MOMENT_TEXTS), 100.0)
    (direction,) = torch.autograd.grad(closed, now)
    errors = {}
    for count in (20, 20_000):
        texts = text.encode(text.random_tokens(count, 8, generator))
        gap = energy_gap(now, before, texts, 100.0)
        (gradient,) = torch.autograd.grad(gap, now)
        errors[count] = abs(gap.item() / closed.item() - 1)
    assert errors[20_000] < 0.02
    assert errors[20_000] < errors[20]
    assert (gradient - direction).norm() < 0.03 * direction.norm()


def test_the_closed_form_needs_no_text_in_a_step(bench: Bench, tmp_path: Path, monkeypatch) -> None:
    method = make_method("lipsum_ft", {"num_texts": "inf"})
    fit = bench.fit(method, tmp_path)
    method.setup(fit.model, fit.task)
    monkeypatch.setattr(TextEncoder, "encode", lambda *_: pytest.fail("a text was encoded"))
    batch = bench.normalise(next(fit.stream.batches(0, 1)))
    assert method.loss(fit.model, batch)["lipsum"].item() < 1e-9


def test_the_matrix_depends_on_the_text_tower_alone(bench: Bench, tiny_clip: PretrainedClip) -> None:
    first = text_moment(bench.clip.text, 4, 700)
    assert text_moment(bench.clip.text, 4, 700) is first
    again = text_moment(TextEncoder(tiny_clip.text.clip, tiny_clip.text.tokenizer), 4, 700)
    assert torch.equal(first, again)
    assert float(first.trace()) == pytest.approx(1.0, rel=1e-5)  # unit vectors


def test_infinity_survives_json() -> None:
    config = methods.load("lipsum_ft").Config.model_validate({"num_texts": "inf"})
    assert config.num_texts == "inf"
    assert config.model_validate(config.model_dump(mode="json")) == config


def test_the_closed_form_resumes_and_with_strength_zero_is_ft(bench: Bench, tmp_path: Path) -> None:
    ft = bench.run("ft", tmp_path / "ft").weights
    off = bench.run("lipsum_ft", tmp_path / "off", {"num_texts": "inf", "strength": 0.0}).weights
    assert all(torch.equal(ft[name], off[name]) for name in ft)
    whole = bench.run("lipsum_ft", tmp_path / "whole", {"num_texts": "inf"}).weights
    with pytest.raises(Killed):
        kill_at(bench.fit(make_method("lipsum_ft", {"num_texts": "inf"}), tmp_path / "cut"), 7).run()
    resumed = bench.run("lipsum_ft", tmp_path / "cut", {"num_texts": "inf"}).weights
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize(
    "bad",
    [
        {"strength": -1},
        {"num_texts": 0},
        {"num_texts": "many"},
        {"num_texts": float("inf")},
        {"num_texts": ".inf"},
        {"token_length": 0},
        {"lambda": 1},
    ],
)
def test_bad_settings_are_refused(bad: dict) -> None:
    with pytest.raises(ValidationError):
        methods.load("lipsum_ft").Config.model_validate(bad)
