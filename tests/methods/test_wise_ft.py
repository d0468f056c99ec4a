"""Interpolation: exact end points, linear between, clear refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

import methods
from datasets.shards import Prepared
from methods.base import PostHoc, PostHocInputs
from tests.bench import Bench
from training.model import PretrainedClip, load_state, state_dict


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
