"""Scratch-FT is FT from a zero head."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from datasets.shards import Prepared
from tests.bench import Bench, make_method
from training.model import PretrainedClip


@pytest.fixture
def bench(tiny_clip: PretrainedClip, blobs: Prepared) -> Bench:
    return Bench(tiny_clip, blobs)


def test_it_starts_undecided_and_without_gradient_to_the_encoder(bench: Bench, tmp_path: Path) -> None:
    method = make_method("scratch_ft")
    fit = bench.fit(method, tmp_path)
    (phase,) = method.setup(fit.model, fit.task)
    assert set(phase.trained) == {name for name, _ in fit.model.named_parameters()}
    assert not fit.model.head.any()
    losses = method.loss(fit.model, bench.normalise(next(fit.stream.batches(0, 1))))
    assert losses["loss"].item() == pytest.approx(math.log(3), rel=1e-6)
    losses["loss"].backward()
    for name, parameter in fit.model.named_parameters():
        assert parameter.grad is not None
        assert bool(parameter.grad.any()) == (name == "head"), name
    encoder = bench.model().visual.state_dict()
    assert all(torch.equal(value, encoder[name]) for name, value in fit.model.visual.state_dict().items())


def test_it_is_ft_of_a_classifier_with_a_zero_head(bench: Bench, tmp_path: Path) -> None:
    scratch = bench.run("scratch_ft", tmp_path / "scratch").weights
    bench.head = torch.zeros_like(bench.head)
    ft = bench.run("ft", tmp_path / "ft").weights
    assert all(torch.equal(ft[name], scratch[name]) for name in ft)
