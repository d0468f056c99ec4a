"""Interpolation: exact end points, linear between, clear refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

import methods
from datasets.shards import Prepared
from methods.base import PostHoc, PostHocInputs
from methods.wise_ft import interpolate
from tests.bench import Bench
from training.model import PretrainedClip, load_state, state_dict


def states() -> tuple[dict, dict]:
    zero = {"w": torch.randn(3, 2), "head": torch.randn(2, 4), "count": torch.tensor(3)}
    tuned = {"w": torch.randn(3, 2), "head": torch.randn(2, 4), "count": torch.tensor(8)}
    return zero, tuned


def test_the_end_points_are_exact() -> None:
    zero, tuned = states()
    assert all(torch.equal(interpolate(zero, tuned, 0.0)[k], zero[k]) for k in ("w", "head"))
    assert all(torch.equal(interpolate(zero, tuned, 1.0)[k], tuned[k]) for k in tuned)


def test_it_is_linear_between_and_takes_integer_buffers_over() -> None:
    zero, tuned = states()
    merged = interpolate(zero, tuned, 0.3)
    assert torch.allclose(merged["w"], zero["w"] + 0.3 * (tuned["w"] - zero["w"]))
    assert merged["count"].dtype == torch.int64
    assert merged["count"] == 8


def test_weights_that_do_not_match_are_refused() -> None:
    zero, tuned = states()
    with pytest.raises(ValueError, match=r"differ in names: \['extra'\]"):
        interpolate(zero, tuned | {"extra": torch.ones(1)}, 0.5)
    with pytest.raises(ValueError, match="differ in the shape of w"):
        interpolate(zero, tuned | {"w": torch.ones(1)}, 0.5)


def test_it_derives_one_predictor_for_each_alpha(tiny_clip: PretrainedClip, blobs: Prepared, tmp_path: Path) -> None:
    bench = Bench(tiny_clip, blobs)
    tuned = bench.run("ft", tmp_path).weights
    found = methods.load("wise_ft")
    assert issubclass(found, PostHoc)
    method = found(found.Config(alphas=(0.0, 0.5, 1.0)))
    inputs = PostHocInputs(
        zero_shot=state_dict(bench.model()),
        finetuned={"ft": tuned},
        build=lambda state: load_state(bench.model(), state),
        val=lambda batch_size: [],
        score=bench.score,
    )
    variants = {v.name: v for v in method.derive(inputs)}
    assert list(variants) == ["alpha=0", "alpha=0.5", "alpha=1"]
    assert variants["alpha=0.5"].parameters == {"alpha": 0.5}
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(variants["alpha=0"].predictor(images), bench.model()(images))
    assert torch.equal(variants["alpha=1"].predictor(images), load_state(bench.model(), tuned)(images))


@pytest.mark.parametrize("alphas", [(), (0.5, 0.5), (-0.1,), (1.1,)])
def test_bad_alphas_are_refused(alphas: tuple) -> None:
    with pytest.raises(ValidationError):
        methods.load("wise_ft").Config(alphas=alphas)
