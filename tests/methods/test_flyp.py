"""The loss against the official code's numbers, the captions, and the classifier made from the tuned towers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss

import methods
from datasets.shards import Prepared
from tests.bench import RECIPE, Bench, make_method
from training.contrastive import caption_table, clip_logits, clip_loss, draw_captions
from training.model import PretrainedClip, load_state

GOLDEN = json.loads((Path(__file__).parent / "golden/flyp.json").read_text())


@pytest.fixture
def bench(tiny_clip: PretrainedClip, blobs: Prepared) -> Bench:
    return Bench(tiny_clip, blobs)


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["dtype"])
def test_loss_and_gradients_are_those_of_the_official_code(case: dict) -> None:
    dtype = getattr(torch, case["dtype"])
    inputs = [torch.tensor(case[name], dtype=dtype, requires_grad=True) for name in ("images", "texts", "log_scale")]
    images, texts, log_scale = inputs
    loss = clip_loss(clip_logits(images, texts, log_scale.exp()))
    assert loss.item() == pytest.approx(case["loss"], rel=1e-5)
    for gradient, name in zip(torch.autograd.grad(loss, inputs), ("images", "texts", "log_scale"), strict=True):
        torch.testing.assert_close(gradient, torch.tensor(case[f"grad_{name}"], dtype=dtype), rtol=1e-5, atol=1e-7)


def test_the_loss_is_that_of_open_clip() -> None:
    images, texts = F.normalize(torch.randn(7, 6), dim=1), F.normalize(torch.randn(7, 6), dim=1)
    scale = torch.tensor(20.0)
    assert torch.allclose(clip_loss(clip_logits(images, texts, scale)), ClipLoss()(images, texts, scale))


def test_captions_are_templates_filled_with_the_class_name(bench: Bench) -> None:
    names, templates = ("red", "dark blue sea"), ("a {} thing.", "{}!", "a drawing of a {} thing.")
    table = caption_table(bench.clip.text, names, templates)
    assert table.shape[:2] == (3, 2)
    assert table.shape[2] < bench.clip.text.context_length
    for t, template in enumerate(templates):
        for k, name in enumerate(names):
            whole = bench.clip.text.tokenizer([template.format(name)])[0]
            assert torch.equal(table[t, k], whole[: table.shape[2]])
            assert not whole[table.shape[2] :].any()
    assert torch.allclose(
        bench.clip.text.encode(table[2]),
        bench.clip.text.encode(bench.clip.text.tokenizer([templates[2].format(name) for name in names])),
        atol=1e-6,
    )


def test_workers_draw_the_parts_of_one_draw() -> None:
    table, labels = torch.arange(5 * 3 * 2).reshape(5, 3, 2), torch.tensor([0, 2, 1, 1, 0, 2, 2, 1])
    whole = draw_captions(table, labels, torch.Generator().manual_seed(3))
    parts = [draw_captions(table, labels[4 * r : 4 * r + 4], torch.Generator().manual_seed(3), r, 2) for r in (0, 1)]
    assert torch.equal(whole, torch.cat(parts))
    assert torch.equal(whole[:, 0] % 6, 2 * labels)  # the class is the image's
    assert len(set((whole[:, 0] // 6).tolist())) > 1  # the templates vary


def test_before_training_it_exports_zero_shot(bench: Bench, tmp_path: Path) -> None:
    method = make_method("flyp")
    fit = bench.fit(method, tmp_path)
    method.setup(fit.model, fit.task)
    exported, zero_shot = method.export(fit.model).state_dict(), bench.model().state_dict()
    assert exported.keys() == zero_shot.keys()
    assert all(torch.allclose(exported[name], zero_shot[name], atol=1e-6) for name in zero_shot)


def test_both_towers_move_and_the_result_is_a_plain_classifier(bench: Bench, tmp_path: Path) -> None:
    text = {name: value.clone() for name, value in bench.clip.text.state_dict().items()}
    fit = bench.fit(make_method("flyp"), tmp_path)
    weights = fit.run().weights
    load_state(bench.model(), weights)
    start = bench.model().state_dict()
    assert not torch.equal(weights["head"], start["head"])
    assert not torch.equal(weights["logit_scale"], start["logit_scale"])
    assert torch.allclose(weights["head"].norm(dim=0), torch.ones(3), atol=1e-6)
    assert all(torch.equal(value, text[name]) for name, value in bench.clip.text.state_dict().items())
    assert weights["logit_scale"] == pytest.approx(fit.method.text.clip.logit_scale.exp().item())
    assert torch.equal(
        weights["head"], fit.method.text.zero_shot_head(bench.prepared.classnames, bench.prepared.templates)
    )


def test_it_learns_to_classify(bench: Bench, tmp_path: Path) -> None:
    trace = bench.run("flyp", tmp_path, recipe=RECIPE.model_copy(update={"num_steps": 40})).trace
    assert trace[-1].nll < trace[0].nll


def test_it_has_no_settings() -> None:
    with pytest.raises(ValueError, match="strength"):
        methods.load("flyp").Config.model_validate({"strength": 1})
