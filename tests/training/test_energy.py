"""Energy gaps and distortions against the definitions, computed image by image and text by text."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from training import energy
from training.energy import FeatureComparison, Texts, absolute_energy_gaps, squared_energy_gaps
from training.runtime import Runtime

GENERATOR = torch.Generator().manual_seed(0)
RAW, ZERO = (3 * torch.randn(130, 6, generator=GENERATOR, dtype=torch.float64) for _ in range(2))
TEXTS = F.normalize(torch.randn(40, 6, generator=GENERATOR, dtype=torch.float64), dim=-1)


def unit(vector: Tensor) -> list[float]:
    length = math.sqrt(sum(v * v for v in vector.tolist()))
    return [v / length for v in vector.tolist()]


def by_hand(raw: Tensor, zero: Tensor, texts: Tensor) -> list[float]:
    """Squared gap, absolute gap, distortion, raw distortion of one image."""
    ours, theirs = unit(raw), unit(zero)
    gaps = []
    for text in texts.tolist():
        tuned, reference = (-sum(f * g for f, g in zip(one, text, strict=True)) for one in (ours, theirs))
        gaps.append(tuned - reference)
    return [
        sum(gap * gap for gap in gaps) / len(gaps),
        sum(abs(gap) for gap in gaps) / len(gaps),
        math.dist(ours, theirs),
        math.dist(raw.tolist(), zero.tolist()),
    ]


BY_HAND = [by_hand(*row, TEXTS) for row in zip(RAW, ZERO, strict=True)]


def compared(sizes: list[int], texts: Tensor | None = TEXTS) -> energy.FeatureShift:
    """The comparison of RAW with ZERO as it sees them in batches of these sizes."""
    batches = iter(ZERO.split(sizes))
    comparison = FeatureComparison(
        ["a"], lambda images, features: next(batches), None if texts is None else Texts(texts)
    )
    for raw in RAW.split(sizes):
        comparison(torch.empty(len(raw), 3, 1, 1), {"a": raw, "not compared": raw})
    found = comparison.result(Runtime(), 6)
    assert list(found) == ["a"]
    return found["a"]


@pytest.mark.parametrize("products", [1, 250, 2**21])
def test_gaps_of_an_image_are_the_means_over_the_texts(products: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "PRODUCTS", products)
    difference = F.normalize(RAW, dim=-1) - F.normalize(ZERO, dim=-1)
    squared, absolute = squared_energy_gaps(difference, Texts(TEXTS).moment), absolute_energy_gaps(difference, TEXTS)
    assert squared.tolist() == pytest.approx([row[0] for row in BY_HAND], rel=1e-9)
    assert absolute.tolist() == pytest.approx([row[1] for row in BY_HAND], rel=1e-9)


@pytest.mark.parametrize("sizes", [[130], [64, 64, 2], [1, 99, 30]])
def test_every_image_counts_alike_however_the_batches_fall(sizes: list[int]) -> None:
    shift = compared(sizes)
    found = [shift.energy_gap, shift.energy_gap_absolute, shift.distortion, shift.distortion_raw]
    assert found == pytest.approx([sum(column) / 130 for column in zip(*BY_HAND, strict=True)], rel=1e-9)
    assert shift.first.dtype == torch.float16
    assert torch.equal(shift.first, F.normalize(RAW, dim=-1)[:100].half())


def test_without_texts_there_are_distortions_alone() -> None:
    with_texts, without = compared([130]), compared([130], None)
    assert (without.energy_gap, without.energy_gap_absolute) == (None, None)
    assert (without.distortion, without.distortion_raw) == (with_texts.distortion, with_texts.distortion_raw)


def test_the_ranges_are_reached_by_opposite_features_and_a_text_along_them() -> None:
    texts = torch.tensor([[1.0, 0.0]])
    difference = torch.tensor([[1.0, 0.0]]) - torch.tensor([[-1.0, 0.0]])
    assert squared_energy_gaps(difference, Texts(texts).moment).item() == 4
    assert absolute_energy_gaps(difference, texts).item() == 2
