"""Sums of weights: interpolation and averages of state dicts.

Integer entries (counters of batch norm) have no mean: they are taken over from one of the inputs.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from training.types import StateDict


def check_alike(states: Sequence[StateDict]) -> None:
    """Raise ValueError unless all have the same names and shapes."""
    first, *others = states
    for other in others:
        if first.keys() != other.keys():
            raise ValueError(f"weights differ in names: {sorted(first.keys() ^ other.keys())[:3]}")
        for name, value in first.items():
            shapes = tuple(value.shape), tuple(other[name].shape)
            if shapes[0] != shapes[1]:
                raise ValueError(f"weights differ in the shape of {name}: {shapes[0]} and {shapes[1]}")


def interpolate(start: StateDict, end: StateDict, alpha: float) -> dict[str, Tensor]:
    """(1 - alpha) * start + alpha * end, tensor by tensor; exact at 0 and 1; integers from `end`.

    Raises ValueError if the two do not have the same names and shapes.
    """
    check_alike([start, end])
    return {
        name: (1 - alpha) * start[name] + alpha * value if value.is_floating_point() else value
        for name, value in end.items()
    }


def average(states: Sequence[StateDict]) -> dict[str, Tensor]:
    """w_1 + 1/N sum_i (w_i - w_1), the mean of N >= 1 weights, tensor by tensor; integers from the first.

    Written around the first so that the mean of copies is the copy, bit for bit. Raises ValueError if they do not have
    the same names and shapes, or if there are none.
    """
    if not states:
        raise ValueError("the mean of no weights is undefined")
    check_alike(states)
    first = states[0]
    mean = {}
    for name, value in first.items():
        if value.is_floating_point():
            offset = value.new_zeros(value.shape)
            for state in states[1:]:
                offset += state[name] - value
            mean[name] = value + offset / len(states)
        else:
            mean[name] = value
    return mean
