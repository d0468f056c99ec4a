"""TPGM on trained models; its maths is tested in tests/training/test_projection.py against the official code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

import methods
from datasets.shards import Prepared
from tests.bench import Bench
from tests.methods.post_hoc import bench_inputs, make, same, trained
from training.model import PretrainedClip
from training.weights import interpolate


@pytest.fixture
def bench(tiny_clip: PretrainedClip, blobs: Prepared) -> Bench:
    return Bench(tiny_clip, blobs)


@pytest.mark.parametrize("index", [0, 1])
def test_it_lowers_the_validation_loss_of_any_trained_method(bench: Bench, tmp_path: Path, index: int) -> None:
    weights = list(trained(bench, tmp_path).values())[index]
    inputs = bench_inputs(bench, {"a": weights})
    losses = {}
    for iterations in (0, 40):
        (variant,) = make("tpgm", {"iterations": iterations}).derive(inputs)
        assert 0 <= variant.parameters["mean_ratio"] <= 1
        losses[iterations] = bench.score(variant.predictor)[1]
    assert losses[40] < losses[0]


def test_without_iterations_every_tensor_is_half_way(bench: Bench, tmp_path: Path) -> None:
    inputs = bench_inputs(bench, {"a": bench.run("ft", tmp_path).weights})
    (variant,) = make("tpgm", {"iterations": 0}).derive(inputs)
    middle = interpolate(inputs.zero_shot, inputs.finetuned["a"], 0.5)
    state = variant.predictor.state_dict()
    assert all(torch.allclose(state[name], middle[name], rtol=1e-4, atol=1e-6) for name in middle)


def test_it_neither_draws_random_numbers_nor_changes_its_inputs(bench: Bench, tmp_path: Path) -> None:
    weights = bench.run("ft", tmp_path).weights
    kept = {name: value.clone() for name, value in weights.items()}
    inputs, states = bench_inputs(bench, {"a": weights}), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        (variant,) = make("tpgm", {"iterations": 3, "batch_size": 4}).derive(inputs)
        states.append(variant.predictor.state_dict())
    assert same(*states)
    assert same(weights, kept)


def test_a_model_that_did_not_move_stays(bench: Bench) -> None:
    inputs = bench_inputs(bench, {"a": bench.model().state_dict()})
    (variant,) = make("tpgm").derive(inputs)
    assert same(variant.predictor.state_dict(), inputs.zero_shot)


@pytest.mark.parametrize("bad", [{"iterations": -1}, {"lr": 0}, {"batch_size": 0}, {"strength": 1}])
def test_bad_settings_are_refused(bad: dict) -> None:
    with pytest.raises(ValidationError):
        methods.load("tpgm").Config.model_validate(bad)
