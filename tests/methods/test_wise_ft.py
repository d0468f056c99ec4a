"""Interpolation: the official code's numbers, exact end points, clear refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

import methods
from datasets.shards import Prepared
from methods.base import PostHoc, PostHocInputs
from tests.bench import Bench
from training.model import PretrainedClip, load_state, state_dict
from training.weights import interpolate

GOLDEN = json.loads((Path(__file__).parent / "golden/wise_ft.json").read_text())


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["dtype"])
def test_the_weights_are_those_of_the_official_code(case: dict) -> None:
    dtype = getattr(torch, case["dtype"])
    zero_shot, tuned = (
        {name: torch.tensor(value, dtype=dtype) for name, value in case[which].items()}
        for which in ("zero_shot", "finetuned")
    )
    for merged in case["merged"]:
        found = interpolate(zero_shot, tuned, merged["alpha"])
        assert found.keys() == merged["weights"].keys()
        for name, value in merged["weights"].items():
            torch.testing.assert_close(found[name], torch.tensor(value, dtype=dtype), rtol=1e-6, atol=0)


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
