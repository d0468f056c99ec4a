"""Holm's step-down over millions of t-tests, of which few p-values need to be known. No ray, no torch.

Holm (1979) goes through m p-values from the smallest on and rejects the k-th while it is below level / (m - k + 1). So a
test is rejected, whatever the others are, if its p-value is below level / m; and it is not if that is at or above
level / (n + 1), where n others are known not to be rejected. Of the 50 million pairs of 10,000 rows a few in a hundred lie
between, and to see which do not it is enough to hold |t| against quantiles.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
TABLED = 1000
"""Degrees of freedom for which quantiles are tabled; those of more lie between the last and the normal distribution's."""
ROUNDING = 1e-6
"""What is so close to a limit, relative to it, is not decided by quantiles, which are less exact than p-values."""


class Verdict(NamedTuple):
    """On an array of tests."""

    rejected: NDArray[np.bool_]
    """of their shape: whatever the other tests say"""
    open: tuple[NDArray[np.intp], ...]
    """indices of those that depend on the other tests"""
    p_values: Floats
    """of the open ones, two-sided"""


class StepDown:
    """Takes in `num_tests` two-sided t-tests, some at a time, and says which are significant at `level` after all are in."""

    def __init__(self, num_tests: int, level: float) -> None:
        self.num_tests, self.level = num_tests, level
        self._num_rejected = self._num_kept = 0
        """tests that are, and that are not, whatever is still to come"""
        self._open: list[Floats] = []
        self._surely = _quantiles((1 - ROUNDING) * level / max(num_tests, 1))

    def take(self, ratio: Floats, freedom: Floats) -> Verdict:
        """Some tests, by |t|, nan where there is no test, and degrees of freedom of at least 1; arrays of one shape."""
        whole = np.minimum(freedom, TABLED).astype(np.int32)
        perhaps = _quantiles((1 + ROUNDING) * self.level / (self._num_kept + 1))
        # Quantiles fall with the degrees of freedom, so those of the whole numbers around them are limits.
        rejected = ratio >= self._surely[whole]
        between = (ratio >= perhaps[whole + 1]) & ~rejected
        p_values = 2 * special.stdtr(freedom[between], -ratio[between])
        num_tests, num_rejected = (int(np.count_nonzero(found)) for found in (~np.isnan(ratio), rejected))
        self._num_rejected += num_rejected
        self._num_kept += num_tests - num_rejected - len(p_values)
        self._open.append(p_values)
        return Verdict(rejected, np.nonzero(between), p_values)

    def limit(self) -> float:
        """Of the open tests those with p-values below this are rejected; to be asked when all tests are in."""
        ordered = np.sort(np.concatenate(self._open)) if self._open else np.empty(0)
        left = self.num_tests - self._num_rejected - np.arange(len(ordered))
        failing = np.flatnonzero(ordered * left >= self.level)
        return float(ordered[failing[0]]) if len(failing) else np.inf


def _quantiles(p_value: float) -> Floats:
    """|t| at which a two-sided p-value is this one, by degrees of freedom; the last is that of any number of them."""
    found: Floats = -special.stdtrit(np.append(np.arange(TABLED + 1.0), np.inf), p_value / 2)
    return found
