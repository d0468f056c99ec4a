"""Masks and groups of classes against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from tests.training.test_evaluate import IDENTITY
from training.evaluate import evaluate
from training.groups import Groups, group_logits
from training.runtime import Runtime
from training.types import RawBatch

LOGITS = torch.tensor([[9.0, 1.0, 2.0, 3.0, 0.0], [9.0, 4.0, -1.0, 2.0, 5.0], [0.0, -2.0, -3.0, -4.0, -5.0]])
"""Class 0 is in no group."""
GROUPS = Groups(((2, 1), (3,), (4,)))
"""The first label of a group need not be its smallest."""


def outcome(labels: list[int], groups: Groups | None, logits: torch.Tensor = LOGITS):
    count = len(labels)
    images = torch.zeros(count, 3, 2, 2, dtype=torch.uint8)
    batch = RawBatch(images, torch.tensor(labels), tuple(f"d/{i}" for i in range(count)))
    return evaluate({"": lambda x: logits[:count]}, [batch], IDENTITY, Runtime(), groups)[""]


def test_a_group_has_the_largest_logit_of_its_members_whatever_its_size() -> None:
    expected = [[2.0, 3.0, 0.0], [4.0, 2.0, 5.0], [-2.0, -4.0, -5.0]]
    assert group_logits(LOGITS, GROUPS.members).tolist() == expected


def test_outcomes_are_over_groups_and_stored_as_their_first_label() -> None:
    found = outcome([3, 1, 2], GROUPS)
    assert found.labels.tolist() == [3, 2, 2]
    assert found.predictions.tolist() == [3, 4, 2]
    assert found.num_correct == 2
    sums = [math.exp(2) + math.exp(3) + 1, math.exp(4) + math.exp(2) + math.exp(5)]
    assert found.confidences[:2].tolist() == pytest.approx([math.exp(3) / sums[0], math.exp(5) / sums[1]], rel=1e-6)
    assert found.nlls[:2].tolist() == pytest.approx([math.log(sums[0]) - 3, math.log(sums[1]) - 4], rel=1e-6)


def test_without_groups_a_class_that_no_image_has_takes_the_predictions() -> None:
    assert outcome([3, 1, 2], None).predictions.tolist() == [0, 0, 0]
    assert outcome([3, 1, 2], None).nll > outcome([3, 1, 2], GROUPS).nll


def test_all_classes_each_on_its_own_change_nothing() -> None:
    plain, grouped = outcome([3, 1, 2], None), outcome([3, 1, 2], Groups(tuple((i,) for i in range(5))))
    assert plain.predictions.tolist() == grouped.predictions.tolist()
    assert plain.nlls.tolist() == grouped.nlls.tolist()


def test_a_label_in_no_group_is_refused() -> None:
    with pytest.raises(ValueError, match="an image has label 0, which is in no group of its domain"):
        outcome([3, 0, 2], GROUPS)


@pytest.mark.parametrize(
    ("members", "message"), [((), "must not be empty"), (((1,), ()), "must not be empty"), (((1, 2), (2,)), "label 2")]
)
def test_groups_that_make_no_sense_are_refused(members: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Groups(members)


def test_accuracy_by_class_gives_every_class_the_same_weight() -> None:
    # class 0 is right; of class 3's three images one is; class 2 has none and does not count
    logits = torch.eye(5)[[0, 3, 1, 1]] * 9
    found = outcome([0, 3, 3, 3], None, logits)
    assert found.accuracy == 0.5
    assert found.class_accuracy == pytest.approx((1 + 1 / 3) / 2)
