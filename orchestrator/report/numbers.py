"""Numbers as text: percent, points, nats, amounts, and what stands after them."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal

from orchestrator.analysis.intervals import Interval
from orchestrator.analysis.series import Series

MINUS = "\N{MINUS SIGN}"


def fixed(value: float, digits: int) -> str:
    """So many decimals, halves away from zero: 58.25 is 58.3, however the number came about."""
    if not math.isfinite(value):
        return f"{value:.{digits}f}"
    # What a sum of floats is off by is no reason to round another way.
    return str(Decimal(repr(round(value, digits + 8))).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def percent(value: float) -> str:
    """A fraction in percent with one decimal."""
    return _signless_zero(fixed(100 * value, 1))


def points(value: float) -> str:
    """A difference of fractions in percentage points, with its sign."""
    text = percent(abs(value))
    return text if float(text) == 0 else (MINUS if value < 0 else "+") + text


def nats(value: float) -> str:
    """A negative log-likelihood with two decimals."""
    return f"{value:.2f}"


def amount(value: float) -> str:
    """Seconds or hours with about three digits: '0.12', '4.5', '1,200'."""
    return f"{value:.2f}" if abs(value) < 1 else f"{value:.1f}" if abs(value) < 100 else f"{value:,.0f}"


def interval_text(interval: Interval | None, show: Callable[[float], str]) -> str:
    """'[80.1, 82.3]'; '' for none."""
    return "" if interval is None else f"[{show(interval.low)}, {show(interval.high)}]"


def p_value(value: float) -> str:
    """'p = 0.012', 'p < 0.001'."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def mean_sd(series: Series, show: Callable[[float], str], unit: Callable[[float], str]) -> str:
    """'81.2 ± 0.4', without the s.d. for one seed, '' for an incomplete series."""
    if series.mean is None:
        return ""
    return show(series.mean) + (f" ± {unit(series.sd)}" if series.sd is not None else "")


def _signless_zero(text: str) -> str:
    return text.removeprefix("-") if float(text) == 0 else text
