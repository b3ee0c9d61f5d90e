"""What is computed while a workflow runs, and how long it says to wait: `evaluated`, `seconds` and `instant` of the prelude."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from cloche_codegen.conditions.values import MISSING, is_number, quote
from oracle.values import INSTANT_MS_MAX, Instant, Opaque, Thrown, json_shown, named

Compute: TypeAlias = Callable[[], Any]


def evaluated(name: str, what: str, compute: Compute) -> Any:
    """Compute something the author wrote; what it raises becomes an error that says where."""
    try:
        value = compute()
    except Thrown as thrown:
        raise named(name, f"{what} failed: {thrown.value}", thrown.value) from None
    if isinstance(value, Opaque) and value.is_promise:
        raise named(name, f"{what} gave a promise; it must be a plain expression")
    return value


def seconds(id: str, compute: Compute) -> int | float:
    """Milliseconds of a number of seconds that is computed now; missing or negative is none."""
    what = f"the duration of {quote(id)}"
    value = evaluated("ExpressionError", what, compute)
    if value is None or value is MISSING:
        value = 0
    ms = _rounded(as_float(value) * 1000) if is_number(value) else math.nan
    if not math.isfinite(ms) or ms > INSTANT_MS_MAX:
        raise named("ExpressionError", f"{what} is no number of seconds: {json_shown(value)}")
    return max(ms, 0)


def instant(id: str, compute: Compute, parse: Callable[[str], int | None]) -> int | float:
    """Milliseconds since the epoch of an instant that is computed now: a Date, such a number, or RFC 3339 text."""
    what = f"the instant of {quote(id)}"
    value = evaluated("ExpressionError", what, compute)
    ms: int | float | None = None
    if isinstance(value, Instant):
        ms = value.ms
    elif is_number(value):
        ms = _rounded(as_float(value))
    elif isinstance(value, str):
        ms = parse(value)
    if ms is None or not -INSTANT_MS_MAX <= ms <= INSTANT_MS_MAX:
        shown = "nothing" if value is MISSING else json_shown(value)
        raise named("ExpressionError", f"{what} is no date, RFC 3339 text or milliseconds: {shown}")
    return ms


def as_float(value: Any) -> float:
    """Number(value)"""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _rounded(value: float) -> float:
    """Math.round: halves go up."""
    if not math.isfinite(value):
        return value
    whole = math.floor(value)
    return whole + 1 if value - whole >= 0.5 else whole
