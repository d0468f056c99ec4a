"""The distance against the official code's numbers, what is recorded, and its limits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from open_clip.transformer import VisionTransformer
from pydantic import ValidationError
from torch import nn

import methods
from datasets.shards import Prepared
from methods.ldifs import feature_distance, quarters, recorded
from tests.bench import Bench, make_method
from training.model import ModelError, PretrainedClip

GOLDEN = json.loads((Path(__file__).parent / "golden/ldifs.json").read_text())


@pytest.fixture
def bench(tiny_clip: PretrainedClip, blobs: Prepared) -> Bench:
    return Bench(tiny_clip, blobs)


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["dtype"])
def test_distance_and_gradients_are_those_of_the_official_code(case: dict) -> None:
    dtype = getattr(torch, case["dtype"])
    now, before = ([torch.tensor(layer, dtype=dtype) for layer in case[name]] for name in ("now", "before"))
    for layer in now:
        layer.requires_grad_()
    distance = feature_distance(now, before)
    assert distance.item() == pytest.approx(case["loss"], rel=1e-5)
    for gradient, expected in zip(torch.autograd.grad(distance, now), case["grads"], strict=True):
        torch.testing.assert_close(gradient, torch.tensor(expected, dtype=dtype), rtol=1e-5, atol=1e-7)


def test_the_norm_runs_over_tokens_or_channels() -> None:
    now, before = torch.randn(2, 5, 3), torch.randn(2, 5, 3)
    for dim in (1, 2):
        scaled = now * torch.rand(
            2, 1 if dim == 1 else 5, 3 if dim == 1 else 1
        )  # the other axis' scale does not matter
        assert torch.allclose(
            feature_distance([now], [before], dim), feature_distance([scaled], [before], dim), rtol=1e-4
        )
    assert not torch.allclose(feature_distance([now], [before], 1), feature_distance([now], [before], 2))


@pytest.mark.parametrize(
    ("depth", "layers"), [(12, (0, 3, 6, 9, 12)), (24, (0, 6, 12, 18, 24)), (2, (0, 1, 2)), (1, (0, 1))]
)
def test_quarters_of_the_depth(depth: int, layers: tuple) -> None:
    assert quarters(depth) == layers


def test_what_is_recorded_is_what_the_encoder_computes() -> None:
    visual = VisionTransformer(32, 16, width=8, layers=4, heads=2, mlp_ratio=2.0, output_dim=6).eval()
    images = torch.randn(3, 3, 32, 32)
    with recorded(visual, (0, 2, 4)) as tokens:
        features = visual(images)
    x = visual.ln_pre(_entrance(visual, images))
    assert [t.shape for t in tokens] == [(3, 5, 8)] * 3
    assert torch.allclose(tokens[0], x, atol=1e-6)
    for depth, block in enumerate(visual.transformer.resblocks, start=1):
        x = block(x)
        if depth in (2, 4):
            assert torch.allclose(tokens[depth // 2], x, atol=1e-6)
    assert torch.allclose(visual.ln_post(tokens[2])[:, 0] @ visual.proj, features, atol=1e-5)
    # An image's tokens do not depend on the others in its batch.
    with recorded(visual, (0, 2, 4)) as alone:
        visual(images[:1])
    assert all(torch.allclose(a, t[:1], atol=1e-6) for a, t in zip(alone, tokens, strict=True))
    with recorded(visual, (4,)) as later:
        pass
    visual(images)
    assert later == []  # nothing is recorded outside


def _entrance(visual: VisionTransformer, images: torch.Tensor) -> torch.Tensor:
    patches = visual.conv1(images).flatten(2).transpose(1, 2)
    first = visual.class_embedding.expand(len(images), 1, -1)
    return torch.cat([first, patches], dim=1) + visual.positional_embedding


def test_strength_zero_is_ft_bit_for_bit(bench: Bench, tmp_path: Path) -> None:
    ft = bench.run("ft", tmp_path / "ft").weights
    off = bench.run("ldifs", tmp_path / "off", {"strength": 0.0}).weights
    assert all(torch.equal(ft[name], off[name]) for name in ft)


def test_it_holds_the_tokens(bench: Bench, tmp_path: Path) -> None:
    images = bench.normalise(next(bench.fit(make_method("ft"), tmp_path).stream.batches(0, 1))).images

    def tokens(weights: dict) -> list[torch.Tensor]:
        model = bench.model()
        model.load_state_dict(weights)
        with torch.no_grad(), recorded(model.visual, (0, 1)) as found:
            model(images)
        return found

    start = tokens(bench.model().state_dict())
    moved = {
        strength: float(
            feature_distance(
                tokens(bench.run("ldifs", tmp_path / f"{strength}", {"strength": strength}).weights), start
            )
        )
        for strength in (0.0, 1000.0)
    }
    assert moved[1000.0] < 0.5 * moved[0.0]


def test_layers_that_are_not_there_fail_before_training(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="block 5 of an image encoder with 1 blocks"):
        bench.run("ldifs", tmp_path, {"layers": [0, 5]})
    with pytest.raises(ModelError, match="Linear has not"), recorded(nn.Linear(2, 2), (0,)):
        pass


@pytest.mark.parametrize(
    "bad", [{"strength": -1}, {"layers": []}, {"layers": [3, 3]}, {"layers": [-1]}, {"norm_over": "all"}]
)
def test_bad_settings_are_refused(bad: dict) -> None:
    with pytest.raises(ValidationError):
        methods.load("ldifs").Config.model_validate(bad)
