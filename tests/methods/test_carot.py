"""Loss, gradients and the teacher's update against the official code's numbers; limits and state."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

import methods
from datasets.shards import Prepared
from methods.carot import cross_norm, momentum, orthogonality, self_distillation
from tests.bench import RECIPE, Bench, Killed, kill_at, make_method
from training.contrastive import clip_logits, clip_loss
from training.model import PretrainedClip

GOLDEN = json.loads((Path(__file__).parent / "golden/carot.json").read_text())
TRAINED = ("images", "texts", "image_projection", "text_projection", "log_scale")


@pytest.fixture
def bench(tiny_clip: PretrainedClip, blobs: Prepared) -> Bench:
    return Bench(tiny_clip, blobs)


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: f"{case['dtype']}-step{case['step']}")
def test_loss_and_gradients_are_those_of_the_official_code(case: dict) -> None:
    dtype = getattr(torch, case["dtype"])
    given = {name: torch.tensor(case[name], dtype=dtype) for name in (*TRAINED, "teacher_images", "teacher_texts")}
    for name in TRAINED:
        given[name].requires_grad_()
    teacher_scale = torch.tensor(case["teacher_log_scale"], dtype=dtype).exp()
    logits = clip_logits(given["images"], given["texts"], given["log_scale"].exp())
    teacher = clip_logits(given["teacher_images"], given["teacher_texts"], teacher_scale)
    distillation = self_distillation(logits, teacher) if case["step"] else torch.zeros((), dtype=dtype)
    assert distillation.item() == pytest.approx(case["distillation"], rel=1e-5)
    loss = clip_loss(logits) + 0.05 * cross_norm(given["image_projection"], given["text_projection"])
    loss = loss + 0.2 * orthogonality(given["image_projection"]) + 1.5 * distillation
    assert loss.item() == pytest.approx(case["loss"], rel=1e-5)
    for gradient, name in zip(torch.autograd.grad(loss, [given[name] for name in TRAINED]), TRAINED, strict=True):
        expected = torch.tensor(case["grads"][name], dtype=dtype)
        torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-6 if dtype == torch.float32 else 1e-12)


def test_the_teacher_moves_as_in_the_official_code(bench: Bench, tmp_path: Path) -> None:
    """10,000 steps; the teacher's first number goes from 0.25 to the student's 1, and so does every other."""
    recipe = RECIPE.model_copy(update={"num_steps": 10_000})
    method = make_method("carot")
    fit = bench.fit(method, tmp_path, recipe=recipe)
    method.setup(fit.model, fit.task)
    for case in GOLDEN["teacher"]:
        with torch.no_grad():
            for student, teacher in zip(fit.model.parameters(), method.teacher.parameters(), strict=True):
                student.fill_(1.0)
                teacher.fill_(0.25)
        method.after_step(fit.model, case["step"] + 1)
        for teacher in method.teacher.parameters():
            assert torch.allclose(teacher, torch.tensor(case["teacher"][0]), rtol=1e-6)


def test_the_momentum_rises_to_its_end_and_stays() -> None:
    assert momentum(0, 100) == 0.05
    assert momentum(10, 100) == pytest.approx((0.05 + 0.9) / 2)
    assert momentum(20, 100) == momentum(99, 100) == 0.9
    assert momentum(0, 100, ramp=0.0) == 0.9


def test_distillation_is_least_and_still_where_the_two_agree() -> None:
    teacher = torch.randn(6, 6, dtype=torch.float64) * 5
    same = teacher.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(self_distillation(same, teacher), same)
    assert gradient.abs().max() < 1e-12
    entropy = [-(F.softmax(z, 1) * F.log_softmax(z, 1)).sum(1).mean() for z in (teacher, teacher.T)]
    assert float(self_distillation(teacher, teacher)) == pytest.approx(float(entropy[0] + entropy[1]), rel=1e-12)
    assert self_distillation(torch.randn(6, 6, dtype=torch.float64), teacher) > entropy[0] + entropy[1]


def test_logits_far_apart_give_finite_losses_and_gradients() -> None:
    student = (torch.eye(4) * 1000 - 500).requires_grad_()
    loss = self_distillation(student, student.detach().flip(0))
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.isfinite()
    assert gradient.isfinite().all()


def test_an_orthogonal_projection_costs_nothing() -> None:
    square, _ = torch.linalg.qr(torch.randn(8, 4, dtype=torch.float64))
    assert float(orthogonality(square)) < 1e-12
    assert float(orthogonality(2 * square)) == pytest.approx(3 * 2)  # ||4 I - I||_F of 4 dimensions


def test_without_its_terms_it_is_flyp_bit_for_bit(bench: Bench, tmp_path: Path) -> None:
    flyp = bench.run("flyp", tmp_path / "flyp").weights
    off = {"orthogonality": 0.0, "distillation": 0.0, "cross_norm": 0.0}
    carot = bench.run("carot", tmp_path / "carot", off).weights
    assert all(torch.equal(flyp[name], carot[name]) for name in flyp)


def test_a_teacher_that_moves_often_survives_an_interruption(bench: Bench, tmp_path: Path) -> None:
    settings = {"teacher_every": 2}
    whole = bench.run("carot", tmp_path / "whole", settings).weights
    with pytest.raises(Killed):
        kill_at(bench.fit(make_method("carot", settings), tmp_path / "cut"), 7).run()
    resumed = bench.run("carot", tmp_path / "cut", settings).weights
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    still = bench.run("carot", tmp_path / "still").weights
    assert not torch.equal(whole["head"], still["head"])


def test_the_first_step_has_no_distillation_and_the_loss_is_the_sum_of_its_terms(bench: Bench, tmp_path: Path) -> None:
    method = make_method("carot")
    fit = bench.fit(method, tmp_path)
    method.setup(fit.model, fit.task)
    for step, raw in enumerate(fit.stream.batches(0, 2)):
        terms = {name: value.item() for name, value in method.loss(fit.model, bench.normalise(raw)).items()}
        assert (terms["distillation"] > 0) == (step > 0)
        total = terms["clip"] + 0.2 * terms["orthogonality"] + 0.05 * terms["cross_norm"] + 1.5 * terms["distillation"]
        assert terms["loss"] == pytest.approx(total, rel=1e-5)
        method.after_step(fit.model, step + 1)


@pytest.mark.parametrize(
    "bad",
    [{"orthogonality": -1}, {"distillation": -1}, {"cross_norm": -1}, {"teacher_every": 0}, {"momentum_end": 1.0}],
)
def test_bad_settings_are_refused(bad: dict) -> None:
    with pytest.raises(ValidationError):
        methods.load("carot").Config.model_validate(bad)
