"""Effective robustness: how far a model lies above the line of the sweep's own plain models. No ray, no torch.

    logit(acc_shift) = a logit(acc_ref) + b ,  by least squares over the models that define the line
    rho = acc_shift - sigmoid(a logit(acc_ref) + b)        (Taori et al., NeurIPS 2020, arXiv:2007.00644, section 3)

The line is fitted to runs of this sweep, never taken from elsewhere: published lines are of other models, sets and
preprocessing. Which rows define it is the caller's choice (`orchestrator.report.trend`) and belongs on the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from orchestrator.analysis.metrics import logit

MIN_POINTS = 3
"""Two points always lie on a line: nothing would be left to judge it by."""


@dataclass(frozen=True)
class Line:
    """A fit in logit space."""

    slope: float
    intercept: float
    r_squared: float
    num_points: int
    residual_sd: float
    """of logit(acc_shift), with n - 2 degrees of freedom"""
    mean_x: float
    sum_squares_x: float
    confidence: float = 0.95

    def expected(self, reference: float) -> float:
        """The accuracy under shift of a model on the line with this reference accuracy, in (0, 1)."""
        return _sigmoid(self._at(reference))

    def band(self, reference: float) -> tuple[float, float]:
        """The interval of the line itself at a reference accuracy (not of single models)."""
        x = float(logit(np.array(reference)))
        spread = self.residual_sd * np.sqrt(1 / self.num_points + (x - self.mean_x) ** 2 / self.sum_squares_x)
        half = float(special.stdtrit(self.num_points - 2, (1 + self.confidence) / 2)) * spread
        return _sigmoid(self._at(reference) - half), _sigmoid(self._at(reference) + half)

    def effective_robustness(self, reference: float, shift: float) -> float:
        """Accuracy under shift beyond what the line expects, as a fraction."""
        return shift - self.expected(reference)

    def _at(self, reference: float) -> float:
        return self.slope * float(logit(np.array(reference))) + self.intercept


def fit_line(reference: Sequence[float], shift: Sequence[float], confidence: float = 0.95) -> Line:
    """Fit the line to models' accuracies, fractions in (0, 1).

    Raises ValueError for fewer than MIN_POINTS points, accuracies of 0 or 1, or points of one reference accuracy.
    """
    if len(reference) != len(shift) or len(reference) < MIN_POINTS:
        raise ValueError(f"a line needs at least {MIN_POINTS} models, got {len(reference)} and {len(shift)} accuracies")
    if not all(0 < value < 1 for value in (*reference, *shift)):
        raise ValueError("accuracies of 0 or 1 have no logit")
    x, y = logit(np.array(reference)), logit(np.array(shift))
    if np.ptp(x) == 0:
        raise ValueError("all models have the same reference accuracy: no line is defined")
    # Here, because who fits no line need not load it, which takes as long as to make a small page.
    from scipy import stats

    found = stats.linregress(x, y)
    residuals: NDArray[np.float64] = y - (found.slope * x + found.intercept)
    return Line(
        slope=float(found.slope),
        intercept=float(found.intercept),
        r_squared=float(found.rvalue**2),
        num_points=len(x),
        residual_sd=float(np.sqrt((residuals**2).sum() / (len(x) - 2))),
        mean_x=float(x.mean()),
        sum_squares_x=float(((x - x.mean()) ** 2).sum()),
        confidence=confidence,
    )


def _sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))
