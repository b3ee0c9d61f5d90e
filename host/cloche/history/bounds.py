"""What a run may put into its log and keep open: checked by the machine for what is new, never again for what is recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cloche.errors import LimitExceeded


@dataclass(frozen=True, slots=True)
class Bounds:
    """The part of a policy that follows from the log alone: where it is met, it is met in every replay of the run."""

    events_per_run: int
    log_bytes_per_run: int
    commands_per_event: int
    console_bytes: int
    payload_bytes: int
    value_depth: int
    value_items: int
    id_bytes: int
    pending_steps: int
    timers: int
    hooks: int
    has_old_names: bool = False  # in runs of older releases new commands may have names as they were allowed then

    def check_log(self, records: int, size: int, open_count: int, counts: Callable[[], Mapping[str, int]]) -> None:
        """Of a run as it stands after a turn: `records` and `size` (bytes) of its log, and how many calls are open.

        `counts` gives the open calls of each kind, by the name of the bound on them.

        Raises:
            LimitExceeded: too much of something.
        """
        if records > self.events_per_run:
            raise exceeded("events_per_run", self.events_per_run, records)
        if size > self.log_bytes_per_run:
            raise exceeded("log_bytes_per_run", self.log_bytes_per_run, size)
        if open_count > min(self.pending_steps, self.timers, self.hooks):  # counting goes through all of them
            for limit, count in counts().items():
                if count > getattr(self, limit):
                    raise exceeded(limit, getattr(self, limit), count)

    def check_name(self, text: str) -> None:
        """Of a path or a name that a guest wrote."""
        if len(text) * 4 > self.id_bytes and (size := len(text.encode())) > self.id_bytes:
            raise exceeded("id_bytes", self.id_bytes, size, "a name")

    def check_console(self, size: int) -> None:
        """Of the bytes of all log lines of one event."""
        if size > self.console_bytes:
            raise exceeded("console_bytes", self.console_bytes, size, "what one event logs")


_ADVICE = {"payload_bytes": "; store large data elsewhere and pass a reference"}


def exceeded(limit: str, value: float, asked: float, what: str = "the run") -> LimitExceeded:
    """The error that a bound was met: `value` is the bound, `asked` what it would have taken."""
    message = f"{what} goes beyond {limit} of its policy: {asked:,} of at most {value:,}{_ADVICE.get(limit, '')}"
    return LimitExceeded(message, limit=limit, value=value, asked=asked)
