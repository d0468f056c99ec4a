"""What the tests of post-hoc methods share: inputs from a `Bench`, and a pool of linear classifiers with official results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import methods
from datasets.stream import EvalStream
from datasets.transforms import EvalTransform
from methods.base import PostHoc, PostHocInputs, Variant
from tests.bench import Bench
from training.model import load_state, state_dict
from training.types import StateDict


def golden(name: str) -> Any:
    """Numbers of the official code."""
    return json.loads((Path(__file__).parent / "golden" / f"{name}.json").read_text())


def make(name: str, settings: dict[str, Any] | None = None) -> PostHoc:
    """A post-hoc method by name, with complete settings."""
    found = methods.load(name)
    assert issubclass(found, PostHoc)
    return found(found.Config.model_validate(settings or {}))


def bench_inputs(bench: Bench, finetuned: Mapping[str, StateDict]) -> PostHocInputs:
    """As a trial builds them."""
    return PostHocInputs(
        zero_shot=state_dict(bench.model()),
        finetuned=finetuned,
        build=lambda state: load_state(bench.model(), state),
        val=lambda size: map(
            bench.normalise, EvalStream(samples=bench.val, transform=EvalTransform("lipsum", 32), batch_size=size)
        ),
        score=bench.score,
    )


def trained(bench: Bench, folder: Path, count: int = 2) -> dict[str, dict[str, Tensor]]:
    """Seeds of FT and of Lipsum-FT, by trial id."""
    names = [("ft", 0), ("lipsum_ft", 1), ("ft", 2), ("lipsum_ft", 3)][:count]
    return {f"{n}-{s}": bench.run(n, folder / f"{n}-{s}", seed=s).weights for n, s in names}


def same(one: StateDict, other: StateDict) -> bool:
    """Equal names and, bit for bit, equal values."""
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


class Pool:
    """72 linear classifiers of 64 points in 3 classes, on which the official soups were run, as inputs of a method."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.points, truth = torch.randn(64, 4, generator=generator), torch.randn(4, 3, generator=generator)
        self.labels = (self.points @ truth + 0.5 * torch.randn(64, 3, generator=generator)).argmax(dim=1)
        self.models = {}
        for index in range(72):
            generator = torch.Generator().manual_seed(100 + index)
            noise = 0.2 + 0.01 * (index * 7 % 72)
            weight = truth + noise * torch.randn(4, 3, generator=generator)
            self.models[f"model_{index}"] = {"w": weight, "b": 0.3 * torch.randn(3, generator=generator)}

    def accuracy(self, predictor: Any) -> float:
        return (predictor(self.points).argmax(dim=1) == self.labels).double().mean().item()

    def build(self, state: StateDict) -> Any:
        def linear(points: Tensor) -> Tensor:
            return points @ state["w"] + state["b"]

        linear.state = state  # type: ignore[attr-defined]
        return linear

    def derive(self, method: PostHoc, names: list[str] | None = None) -> Variant:
        """The only variant that a method derives from the models named, or from all."""
        chosen = self.models if names is None else {name: self.models[name] for name in names}
        inputs = PostHocInputs(
            zero_shot={},
            finetuned=chosen,
            build=self.build,
            val=lambda size: [],
            score=lambda predictor: (self.accuracy(predictor), 0.0),
        )
        (variant,) = method.derive(inputs)
        return variant
