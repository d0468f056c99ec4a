"""Numbers as text: percent, points, nats, amounts, and what stands after them."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.analysis.intervals import Interval
from orchestrator.analysis.series import Series

MINUS = "\N{MINUS SIGN}"


def percent(value: float) -> str:
    """A fraction in percent with one decimal."""
    return _signless_zero(f"{100 * value:.1f}")


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


def mean_sd(series: Series, show: Callable[[float], str], unit: Callable[[float], str]) -> str:
    """'81.2 ± 0.4', without the s.d. for one seed, '' for an incomplete series."""
    if series.mean is None:
        return ""
    return show(series.mean) + (f" ± {unit(series.sd)}" if series.sd is not None else "")


def _signless_zero(text: str) -> str:
    return text.removeprefix("-") if float(text) == 0 else text
