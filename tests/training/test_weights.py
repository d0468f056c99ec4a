"""Sums of weights: exact end points, exact copies, clear refusals."""

from __future__ import annotations

import pytest
import torch

from training.weights import average, interpolate


def states() -> tuple[dict, dict]:
    zero = {"w": torch.randn(3, 2), "head": torch.randn(2, 4), "count": torch.tensor(3)}
    tuned = {"w": torch.randn(3, 2), "head": torch.randn(2, 4), "count": torch.tensor(8)}
    return zero, tuned


def test_the_end_points_are_exact() -> None:
    zero, tuned = states()
    assert all(torch.equal(interpolate(zero, tuned, 0.0)[k], zero[k]) for k in ("w", "head"))
    assert all(torch.equal(interpolate(zero, tuned, 1.0)[k], tuned[k]) for k in tuned)


def test_it_is_linear_between_and_takes_integer_buffers_over() -> None:
    zero, tuned = states()
    merged = interpolate(zero, tuned, 0.3)
    assert torch.allclose(merged["w"], zero["w"] + 0.3 * (tuned["w"] - zero["w"]))
    assert merged["count"].dtype == torch.int64
    assert merged["count"] == 8


def test_the_mean_of_copies_is_the_copy_bit_for_bit() -> None:
    one, _ = states()
    mean = average([one] * 7)
    assert all(torch.equal(mean[key], one[key]) for key in one)


def test_the_mean_leaves_its_inputs_alone_and_takes_integers_from_the_first() -> None:
    one, other = states()
    before = {key: value.clone() for key, value in one.items()}
    mean = average([one, other, other])
    assert torch.allclose(mean["w"], (one["w"] + 2 * other["w"]) / 3, rtol=1e-6)
    assert mean["count"] == 3
    mean["w"].zero_()
    assert all(torch.equal(one[key], before[key]) for key in one)


@pytest.mark.parametrize("merge", [lambda a, b: interpolate(a, b, 0.5), lambda a, b: average([a, b])])
def test_weights_that_do_not_match_are_refused(merge) -> None:
    zero, tuned = states()
    with pytest.raises(ValueError, match=r"differ in names: \['extra'\]"):
        merge(zero, tuned | {"extra": torch.ones(1)})
    with pytest.raises(ValueError, match="differ in the shape of w"):
        merge(zero, tuned | {"w": torch.ones(1)})


def test_no_weights_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no weights"):
        average([])
