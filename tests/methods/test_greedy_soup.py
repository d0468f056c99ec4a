"""The greedy soup against the official script, and on trained models."""

from __future__ import annotations

from pathlib import Path

import torch

from datasets.shards import Prepared
from tests.bench import Bench
from tests.methods.post_hoc import Pool, bench_inputs, golden, make, same, trained
from training.model import PretrainedClip


def test_it_equals_the_official_soup(caplog) -> None:
    caplog.set_level("INFO")
    pool, official = Pool(), golden("greedy_soup")
    assert [pool.accuracy(pool.build(state)) for state in pool.models.values()] == official["accuracies"]
    assert len(set(official["accuracies"])) < 72  # ties occur
    variant = pool.derive(make("greedy_soup"))
    assert f"greedy soup of 3 of 72: {', '.join(official['ingredients'])}" in caplog.text
    tried = [row.message.split(" + ")[-1] for row in caplog.records if " + " in row.message]
    assert tried == official["order"][1:]
    for name, value in official["soup"].items():
        torch.testing.assert_close(variant.predictor.state[name], torch.tensor(value), rtol=1e-5, atol=1e-7)
    assert pool.accuracy(variant.predictor) == official["best"]
    assert variant.parameters == {"num_ingredients": 3}


def test_it_is_never_below_its_best_ingredient() -> None:
    pool = Pool()
    for start in range(0, 72, 6):
        names = list(pool.models)[start : start + 6]
        best = max(pool.accuracy(pool.build(pool.models[name])) for name in names)
        assert pool.accuracy(pool.derive(make("greedy_soup"), names).predictor) >= best


def test_one_model_and_copies_of_it_are_that_model(tiny_clip: PretrainedClip, blobs: Prepared, tmp_path: Path) -> None:
    bench = Bench(tiny_clip, blobs)
    weights = bench.run("ft", tmp_path).weights
    for inputs in ({"a": weights}, {"a": weights, "b": weights}):
        (variant,) = make("greedy_soup").derive(bench_inputs(bench, inputs))
        assert same(variant.predictor.state_dict(), weights)
        assert variant.parameters == {"num_ingredients": 1}


def test_it_stands_on_any_trained_method(tiny_clip: PretrainedClip, blobs: Prepared, tmp_path: Path) -> None:
    bench = Bench(tiny_clip, blobs)
    inputs = bench_inputs(bench, trained(bench, tmp_path, count=4))
    (variant,) = make("greedy_soup").derive(inputs)
    best = max(bench.score(inputs.build(state))[0] for state in inputs.finetuned.values())
    assert bench.score(variant.predictor)[0] >= best
