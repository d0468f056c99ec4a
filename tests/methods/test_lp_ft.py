"""LP-FT is FT from the linear probe's head."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

import methods
from datasets.shards import Prepared
from tests.bench import Bench, make_method
from training.model import PretrainedClip


@pytest.fixture
def bench(tiny_clip: PretrainedClip, blobs: Prepared) -> Bench:
    return Bench(tiny_clip, blobs)


def test_the_first_stage_is_the_linear_probe(bench: Bench, tmp_path: Path) -> None:
    probe = bench.run("linear_probe", tmp_path).weights
    method = make_method("lp_ft")
    fit = bench.fit(method, tmp_path)
    (phase,) = method.setup(fit.model, fit.task)
    assert set(phase.trained) == {name for name, _ in fit.model.named_parameters()}
    assert all(torch.equal(probe[name], value) for name, value in fit.model.state_dict().items())


def test_the_second_stage_is_ft_from_there(bench: Bench, tmp_path: Path) -> None:
    lp_ft = bench.run("lp_ft", tmp_path / "lp_ft")
    bench.head = bench.run("linear_probe", tmp_path / "probe").weights["head"]
    ft = bench.run("ft", tmp_path / "ft")
    assert all(torch.equal(ft.weights[name], lp_ft.weights[name]) for name in ft.weights)
    assert ft.images_seen == lp_ft.images_seen


def test_the_settings_reach_the_first_stage(bench: Bench, tmp_path: Path) -> None:
    heads = []
    for c in (0.01, 100.0):
        method = make_method("lp_ft", {"cs": [c]})
        fit = bench.fit(method, tmp_path)
        method.setup(fit.model, fit.task)
        heads.append(fit.model.head.norm().item())
    assert heads[0] < 0.1 * heads[1]


@pytest.mark.parametrize("bad", [{"cs": [-1.0]}, {"share": 0.5}])
def test_bad_settings_are_refused(bad: dict) -> None:
    with pytest.raises(ValidationError):
        methods.load("lp_ft").Config.model_validate(bad)
