"""Outcomes against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from training.evaluate import Normalise, evaluate
from training.groups import Groups
from training.model import ImageClassifier, PretrainedClip
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


def test_brier_scores_by_hand_over_all_classes_and_over_groups() -> None:
    """p = (1/2, 1/4, 1/4): 3/8 where the first class is right, 7/8 where another; over groups from their probabilities."""
    logits = torch.tensor([2.0, 1.0, 1.0]).log().expand(3, 3)
    found = evaluate({"": lambda x: logits}, batches([3]), IDENTITY, Runtime())[""]
    right, wrong = 0.25 + 2 / 16, 0.25 + 9 / 16 + 1 / 16
    assert found.briers.tolist() == pytest.approx([right, wrong, wrong], abs=1e-6)
    assert found.brier == pytest.approx((right + 2 * wrong) / 3, abs=1e-6)
    # Groups {0} and {1, 2}: p = (2/3, 1/3), the largest logit of each.
    grouped = evaluate({"": lambda x: logits}, batches([3]), IDENTITY, Runtime(), Groups(((0,), (1, 2))))[""]
    assert grouped.briers.tolist() == pytest.approx([2 / 9, 8 / 9, 8 / 9], abs=1e-6)


def test_brier_scores_keep_their_digits_when_a_model_is_sure() -> None:
    logits = torch.tensor([[8.0, 0.0], [40.0, 0.0]])
    raw = RawBatch(torch.zeros(2, 3, 1, 1, dtype=torch.uint8), torch.tensor([0, 1]), ("d/0", "d/1"))
    found = evaluate({"": lambda x: logits}, [raw], IDENTITY, Runtime())[""]
    off = 1 / (1 + math.exp(8))
    assert found.briers.tolist() == pytest.approx([2 * off**2, 2.0], rel=1e-3)


def test_an_encoder_is_observed_and_gives_the_logits_it_always_gives(tiny_clip: PretrainedClip) -> None:
    class Doubled(ImageClassifier):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(images)

    head = torch.eye(16)[:, :3]
    plain = tiny_clip.classifier(head, CPU)
    doubled = Doubled(plain.visual, head, 10.0).eval()
    raw = [RawBatch(torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8), torch.zeros(4).long(), tuple("abcd"))]
    seen: list[dict[str, torch.Tensor]] = []
    predictors = {"plain": plain, "doubled": doubled, "function": lambda x: plain(x)}
    found = evaluate(predictors, raw, IDENTITY, Runtime(), observe=lambda images, features: seen.append(dict(features)))
    (features,) = seen
    assert features.keys() == {"plain"}
    with torch.inference_mode():
        assert torch.equal(features["plain"], plain.visual(IDENTITY(raw[0]).images))
        expected = doubled(IDENTITY(raw[0]).images).softmax(dim=1).max(dim=1).values.numpy()
    assert (found["plain"].nlls == found["function"].nlls).all()
    assert found["doubled"].confidences == pytest.approx(expected, rel=1e-5)
