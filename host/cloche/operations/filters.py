"""What a listing is narrowed to, as callers name it."""

from __future__ import annotations

from collections.abc import Sequence

from cloche.errors import UsageError
from cloche.status import RunStatus
from cloche.text import quoted

COUNT_MAX = (1 << 63) - 1  # as far as a store counts


def count_of(what: str, given: object) -> int:
    """A number of records, runs or entries, or of one of them, as a caller gives it.

    Raises:
        UsageError: it is none.
    """
    if type(given) is not int or not 0 <= given <= COUNT_MAX:
        raise UsageError(f"{what} is a whole number from 0 to {COUNT_MAX:,}, not {quoted(given)}")
    return given


def statuses_of(given: str | Sequence[str] | None) -> RunStatus | tuple[RunStatus, ...] | None:
    """One, or several: any of them. None: any at all.

    Raises:
        UsageError: there is no such status.
    """
    if given is None or isinstance(given, str):
        return status_of(given)
    found = tuple(one for name in given if (one := status_of(name)) is not None)
    return found or None


def status_of(text: str | None) -> RunStatus | None:
    """The status of that name; None stays None: any.

    Raises:
        UsageError: there is no such status. The message lists them.
    """
    try:
        return None if text is None else RunStatus(text)
    except ValueError:
        raise UsageError(f"there is no status {quoted(text)}; a run is {', '.join(RunStatus)}") from None
