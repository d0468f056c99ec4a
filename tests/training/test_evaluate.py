"""Outcomes against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from training.evaluate import Normalise, evaluate
from training.runtime import Runtime
from training.types import RawBatch

CPU = torch.device("cpu")


def batches(sizes: list[int]) -> list[RawBatch]:
    """Images whose every pixel is their label."""
    made, start = [], 0
    for size in sizes:
        labels = torch.arange(start, start + size) % 3
        images = labels.view(-1, 1, 1, 1).expand(-1, 3, 2, 2).to(torch.uint8)
        made.append(RawBatch(images, labels, tuple(f"d/{i}" for i in range(start, start + size))))
        start += size
    return made


IDENTITY = Normalise((0.0, 0.0, 0.0), (1 / 255,) * 3, CPU)


def test_accuracy_confidence_and_nll_with_a_short_last_batch() -> None:
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    outcome = evaluate({"": lambda x: logits[x[:, 0, 0, 0].long()]}, batches([4, 3]), IDENTITY, Runtime())[""]
    assert outcome.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert outcome.predictions.tolist() == [0, 2, 2, 0, 2, 2, 0]
    assert outcome.num_correct == 5
    assert outcome.accuracy == 5 / 7
    p0, p2 = math.exp(2) / (math.exp(2) + 2), math.e / (math.e + 2)
    assert outcome.confidences[0] == pytest.approx(p0, rel=1e-6)
    expected = [-math.log(p0), -math.log(1 / (math.e + 2)), -math.log(p2)]
    assert outcome.nlls[:3].tolist() == pytest.approx(expected, rel=1e-6)
    assert outcome.nll == pytest.approx((3 * expected[0] + 2 * expected[1] + 2 * expected[2]) / 7, rel=1e-6)


def test_images_are_normalised_with_mean_and_standard_deviation() -> None:
    raw = RawBatch(torch.full((1, 3, 1, 1), 51, dtype=torch.uint8), torch.tensor([0]), ("d/0",))
    images = Normalise((0.1, 0.2, 0.4), (0.5, 0.25, 0.1), CPU)(raw).images
    assert images.flatten().tolist() == pytest.approx([0.2, 0.0, -2.0], abs=1e-6)


def test_all_predictors_see_the_images_in_one_pass() -> None:
    passes = []

    def once():
        passes.append(1)
        yield from batches([3])

    found = evaluate({"a": lambda x: torch.eye(3), "b": lambda x: -torch.eye(3)}, once(), IDENTITY, Runtime())
    assert len(passes) == 1
    assert found["a"].accuracy == 1.0
    assert found["b"].accuracy == 0.0


def test_logits_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="alpha=2 gives logits that are not finite"):
        evaluate({"alpha=2": lambda x: torch.full((3, 3), float("nan"))}, batches([3]), IDENTITY, Runtime())
