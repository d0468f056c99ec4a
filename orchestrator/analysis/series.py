"""Numbers over seeds. No ray, no torch.

A number is a `Series`: its value for each seed, and for each seed without one the reason. Means, s.d. and differences are
taken from series, so that whatever is missing stays visible: a mean over an incomplete grid is empty, never partial.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True)
class Series:
    """One number for each seed, or why there is none."""

    values: Mapping[int, float]
    """seed -> value"""
    missing: Mapping[int, str] = field(default_factory=dict)
    """seed -> reason"""
    constant: bool = False
    """True: one value that holds for every seed (a model that does not train)"""
    absent: str = ""
    """why there is nothing at all: no seed was ever planned"""

    @property
    def n(self) -> int:
        """Number of seeds with a value."""
        return len(self.values)

    @property
    def planned(self) -> int:
        """Number of seeds with or without a value."""
        return len(self.values) + len(self.missing)

    @cached_property
    def mean(self) -> float | None:
        """Mean over the seeds; None if any is missing."""
        return statistics.fmean(self.values.values()) if self.values and not self.missing else None

    @cached_property
    def sd(self) -> float | None:
        """Standard deviation over the seeds with ddof = 1; None if any is missing or there is only one."""
        if self.mean is None or self.n < 2:
            return None
        return math.sqrt(math.fsum((value - self.mean) ** 2 for value in self.values.values()) / (self.n - 1))

    @property
    def why(self) -> str:
        """Why the mean is empty; '' if it is not."""
        if self.mean is not None:
            return ""
        if not self.missing:
            return self.absent
        if self.constant:
            return "; ".join(dict.fromkeys(self.missing.values()))
        reasons = "; ".join(f"s{seed} {reason}" for seed, reason in sorted(self.missing.items()))
        return f"{self.n} of {self.planned} seeds: {reasons}"


def combine(function: Callable[[Sequence[float]], float], *series: Series) -> Series:
    """Apply `function` seed by seed, over the seeds that all series were planned with; constants hold for every seed.

    A seed that any series lacks is missing from the result, with the first reason found.
    """
    absent = next((s.absent for s in series if s.absent), "")
    varying = [s for s in series if not s.constant] or list(series)
    seeds = set.intersection(*({*s.values, *s.missing} for s in varying)) if varying else set()
    values: dict[int, float] = {}
    missing: dict[int, str] = {}
    for seed in sorted(seeds):
        found = [_at(s, seed) for s in series]
        numbers = [value for value in found if isinstance(value, float)]
        if len(numbers) == len(found):
            values[seed] = function(numbers)
        else:
            missing[seed] = next(value for value in found if isinstance(value, str))
    constant = bool(series) and all(s.constant for s in series)
    return Series(values, missing, constant, absent if absent or seeds else "no seed in common")


def _at(series: Series, seed: int) -> float | str:
    if series.constant:
        return (
            next(iter(series.values.values())) if series.values else next(iter(series.missing.values()), series.absent)
        )
    return float(series.values[seed]) if seed in series.values else series.missing.get(seed, series.absent)


def difference(minuend: Series, subtrahend: Series, name: str) -> Series:
    """Paired by seed; reasons that come from the subtrahend are prefixed with its `name`."""
    reasons = {seed: f"{name} {reason}" for seed, reason in subtrahend.missing.items()}
    other = Series(subtrahend.values, reasons, subtrahend.constant, subtrahend.absent)
    return combine(lambda v: v[0] - v[1], minuend, other)
