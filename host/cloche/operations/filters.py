"""What a listing is narrowed to, as callers name it."""

from __future__ import annotations

from cloche.errors import UsageError
from cloche.status import RunStatus


def status_of(text: str | None) -> RunStatus | None:
    """The status of that name; None stays None: any.

    Raises:
        UsageError: there is no such status. The message lists them.
    """
    try:
        return None if text is None else RunStatus(text)
    except ValueError:
        raise UsageError(f"there is no status {text!r}; a run is {', '.join(RunStatus)}") from None
