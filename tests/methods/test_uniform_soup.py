"""The uniform soup against the official script, and on trained models."""

from __future__ import annotations

from pathlib import Path

import torch

from datasets.shards import Prepared
from tests.bench import Bench
from tests.methods.post_hoc import Pool, bench_inputs, golden, make, same, trained
from training.model import PretrainedClip


def test_it_equals_the_official_soup() -> None:
    variant = Pool().derive(make("uniform_soup"))
    for name, value in golden("uniform_soup")["soup"].items():
        torch.testing.assert_close(variant.predictor.state[name], torch.tensor(value), rtol=1e-5, atol=1e-7)
    assert variant.parameters == {"num_ingredients": 72}


def test_it_stands_on_any_trained_method(tiny_clip: PretrainedClip, blobs: Prepared, tmp_path: Path, caplog) -> None:
    bench = Bench(tiny_clip, blobs)
    weights = trained(bench, tmp_path)
    caplog.set_level("INFO")
    (variant,) = make("uniform_soup").derive(bench_inputs(bench, weights))
    one, other = weights.values()
    state = variant.predictor.state_dict()
    assert all(torch.allclose(state[key], (one[key] + other[key]) / 2, atol=1e-7) for key in one)
    assert "ft-0, lipsum_ft-1" in caplog.text


def test_a_soup_of_copies_is_the_copy(tiny_clip: PretrainedClip, blobs: Prepared, tmp_path: Path) -> None:
    bench = Bench(tiny_clip, blobs)
    weights = bench.run("ft", tmp_path).weights
    (variant,) = make("uniform_soup").derive(bench_inputs(bench, {"a": weights, "b": weights, "c": weights}))
    assert same(variant.predictor.state_dict(), weights)
