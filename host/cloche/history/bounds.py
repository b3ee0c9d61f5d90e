"""What a run may put into its log and keep open: checked by the machine for what is new, never again for what is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloche.errors import LimitExceeded

if TYPE_CHECKING:
    from cloche.history.calls import OpenCalls
    from cloche.history.messages import Command

_LOG_LINE = 4  # the number of the command, the byte behind the head of its array


@dataclass(frozen=True, slots=True)
class Bounds:
    """The part of a policy that follows from the log alone: where it is met, it is met in every life of the run."""

    events_per_run: int
    log_bytes_per_run: int
    console_bytes: int
    payload_bytes: int
    value_depth: int
    value_items: int
    id_bytes: int
    pending_steps: int
    timers: int
    hooks: int

    def check_log(self, records: int, size: int, calls: OpenCalls) -> None:
        """Of a run as it stands after a turn: `records` and `size` (bytes) of its log, and what is open.

        Raises:
            LimitExceeded: too much of something.
        """
        if records > self.events_per_run:
            raise exceeded("events_per_run", self.events_per_run, records)
        if size > self.log_bytes_per_run:
            raise exceeded("log_bytes_per_run", self.log_bytes_per_run, size)
        if len(calls) > min(self.pending_steps, self.timers, self.hooks):  # then it is worth to count
            self._check_calls(calls)

    def _check_calls(self, calls: OpenCalls) -> None:
        for limit, count in calls.counts().items():
            if count > getattr(self, limit):
                raise exceeded(limit, getattr(self, limit), count)

    def check_names(self, command: Command) -> None:
        """Of the path and the name that a guest wrote."""
        for text in (getattr(command, "path", None), getattr(command, "name", None)):
            if text is not None and len(text) * 4 > self.id_bytes and (size := len(text.encode())) > self.id_bytes:
                raise exceeded("id_bytes", self.id_bytes, size, "a name")

    def check_console(self, commands: list[bytes]) -> None:
        """Of the commands of one event, as they were written: log lines among them."""
        size = sum(len(body) for body in commands if body[1] == _LOG_LINE)
        if size > self.console_bytes:
            raise exceeded("console_bytes", self.console_bytes, size, "what one event logs")


_ADVICE = {"payload_bytes": "; store large data elsewhere and pass a reference"}


def exceeded(limit: str, value: float, asked: float, what: str = "the run") -> LimitExceeded:
    """The error that a bound was met: `value` is the bound, `asked` what it would have taken."""
    message = f"{what} goes beyond {limit} of its policy: {asked:,} of at most {value:,}{_ADVICE.get(limit, '')}"
    return LimitExceeded(message, limit=limit, value=value, asked=asked)
