"""The penalty against a reference written here, and its limits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

import methods
from datasets.shards import Prepared
from methods.tpgm_c import radius_penalty
from tests.bench import Bench
from tests.methods.post_hoc import bench_inputs, make, same
from training.model import PretrainedClip


@pytest.fixture
def bench(tiny_clip: PretrainedClip, blobs: Prepared) -> Bench:
    return Bench(tiny_clip, blobs)


def test_the_penalties_are_sums_over_the_tensors() -> None:
    radii = torch.tensor([0.1, 2.0, 3.0])
    assert float(radius_penalty(radii, "l1")) == pytest.approx(0.1 + 2 + 3)
    assert float(radius_penalty(radii, "l2")) == pytest.approx(0.01 + 4 + 9)


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_strength_zero_is_tpgm_bit_for_bit(bench: Bench, tmp_path: Path, penalty: str) -> None:
    inputs = bench_inputs(bench, {"a": bench.run("ft", tmp_path).weights})
    (plain,) = make("tpgm", {"iterations": 5}).derive(inputs)
    (controlled,) = make("tpgm_c", {"iterations": 5, "strength": 0, "penalty": penalty}).derive(inputs)
    assert same(plain.predictor.state_dict(), controlled.predictor.state_dict())


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_a_stronger_penalty_leads_closer_to_zero_shot(bench: Bench, tmp_path: Path, penalty: str) -> None:
    inputs = bench_inputs(bench, {"a": bench.run("lipsum_ft", tmp_path).weights})
    ratios = []
    for strength in (0.0, 1.0, 1e4):
        settings = {"iterations": 30, "lr": 0.02, "strength": strength, "penalty": penalty}
        (variant,) = make("tpgm_c", settings).derive(inputs)
        ratios.append(variant.parameters["mean_ratio"])
    assert ratios[0] > ratios[1] > ratios[2]


def test_a_huge_penalty_on_radii_ends_at_zero_shot(bench: Bench, tmp_path: Path) -> None:
    inputs = bench_inputs(bench, {"a": bench.run("ft", tmp_path).weights})
    (variant,) = make("tpgm_c", {"iterations": 50, "lr": 1.0, "strength": 1e6, "penalty": "l1"}).derive(inputs)
    state = variant.predictor.state_dict()
    assert all(torch.allclose(state[name], value, atol=1e-6) for name, value in inputs.zero_shot.items())


@pytest.mark.parametrize("bad", [{"strength": -0.1}, {"penalty": "l0"}, {"iterations": -1}, {"lr": 0}, {"reg": 1}])
def test_bad_settings_are_refused(bad: dict) -> None:
    with pytest.raises(ValidationError):
        methods.load("tpgm_c").Config.model_validate(bad)
