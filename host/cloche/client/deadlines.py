"""By when a run must have ended, as whoever starts it says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from cloche.errors import InvalidInput
from cloche.history import TimeMs
from cloche.text import quoted

Deadline: TypeAlias = datetime | timedelta | float | str

_MS_MAX = 8_640_000_000_000_000  # the last millisecond that JavaScript's Date can hold


def deadline_ms(deadline: Deadline | None, now: TimeMs) -> TimeMs | None:
    """The instant in milliseconds since 1970: of a datetime (naive: UTC) or its RFC 3339 text, or so far from now: seconds, a
    timedelta, or `"8 hours"`.

    Raises:
        InvalidInput: it is none of these, or beyond what a date can be.
    """
    if deadline is None:
        return None
    due = _due(deadline, now)
    if due is None or not 0 < due <= _MS_MAX:
        what = "a datetime, a timedelta, seconds from now, or a text such as '8 hours' or '2027-01-31T12:00:00Z'"
        raise InvalidInput(f"a deadline is {what}, not {quoted(deadline)}", path="deadline")
    return TimeMs(due)


def _due(deadline: Deadline, now: TimeMs) -> int | None:
    from cloche_codegen.arguments import seconds_in

    if isinstance(deadline, str):
        seconds = seconds_in(deadline)
        if seconds is None:
            try:
                deadline = datetime.fromisoformat(deadline)
            except ValueError:
                return None
        else:
            deadline = seconds
    try:
        if isinstance(deadline, datetime):
            aware = deadline if deadline.tzinfo is not None else deadline.replace(tzinfo=UTC)
            return (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
        if isinstance(deadline, timedelta):
            return now + deadline // timedelta(milliseconds=1)
        if isinstance(deadline, int | float) and not isinstance(deadline, bool):
            return now + round(deadline * 1000)
    except (OverflowError, ValueError):
        pass
    return None
