"""Model Stock against mergekit's numbers, its limits, and clear refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from datasets.shards import Prepared
from methods.model_stock import model_stock, stock_ratio
from tests.bench import Bench
from tests.methods.post_hoc import bench_inputs, golden, make, same, trained
from training.model import PretrainedClip


@pytest.mark.parametrize("count", [2, 4])
def test_it_equals_mergekit(count: int) -> None:
    numbers = golden("model_stock")
    tensors = {name: torch.tensor(value) for name, value in numbers["base"].items()}
    models = [{name: torch.tensor(value) for name, value in model.items()} for model in numbers["models"]]
    merged, ratios = model_stock(tensors, models[:count])
    assert all(0 < ratio < 1 for ratio in ratios.values())
    for name, value in numbers["merged"][str(count)].items():
        torch.testing.assert_close(merged[name], torch.tensor(value), rtol=1e-5, atol=1e-6)


def test_models_that_agree_give_their_mean_and_such_that_do_not_the_start() -> None:
    start, one, other = torch.zeros(2), torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert stock_ratio(start, [one, 3 * one]) == pytest.approx(1)
    assert stock_ratio(start, [one, other]) == 0
    assert stock_ratio(start, [one, -one]) == 0  # not minus infinity
    assert stock_ratio(start, [one, start]) == 0
    assert stock_ratio(start, [start, start]) == 0
    tiny = 1e-6 * (one + other)
    assert stock_ratio(start, [tiny, 1e-6 * one]) == pytest.approx(stock_ratio(start, [1e6 * tiny, one]), rel=1e-6)


def test_the_ratio_is_that_of_the_angle_for_two_models() -> None:
    for degrees in (10, 45, 80):
        angle = torch.deg2rad(torch.tensor(float(degrees)))
        ends = [torch.tensor([1.0, 0.0]), torch.stack([angle.cos(), angle.sin()])]
        assert stock_ratio(torch.zeros(2), ends) == pytest.approx(float(2 * angle.cos() / (1 + angle.cos())), rel=1e-6)


def test_it_stands_on_any_trained_method(tiny_clip: PretrainedClip, blobs: Prepared, tmp_path: Path) -> None:
    bench = Bench(tiny_clip, blobs)
    inputs = bench_inputs(bench, trained(bench, tmp_path, count=3))
    (variant,) = make("model_stock").derive(inputs)
    assert variant.parameters["num_ingredients"] == 3
    assert 0 < variant.parameters["mean_ratio"] < 1
    assert bench.score(variant.predictor)[0] > 0


def test_copies_give_the_copy(tiny_clip: PretrainedClip, blobs: Prepared, tmp_path: Path) -> None:
    bench = Bench(tiny_clip, blobs)
    weights = bench.run("ft", tmp_path).weights
    (variant,) = make("model_stock").derive(bench_inputs(bench, {"a": weights, "b": weights}))
    state = variant.predictor.state_dict()
    assert all(torch.allclose(state[key], weights[key], atol=1e-6) for key in weights)


def test_one_model_is_refused(tiny_clip: PretrainedClip, blobs: Prepared) -> None:
    bench = Bench(tiny_clip, blobs)
    inputs = bench_inputs(bench, {"a": bench.model().state_dict()})
    assert same(inputs.finetuned["a"], inputs.zero_shot)
    with pytest.raises(ValueError, match="at least 2 fine-tuned models, got 1"):
        make("model_stock").derive(inputs)
