"""What a schedule says: which workflow begins when. Pure: the instants follow from it, whoever computes them.

An instant that clocks skip (02:30 when they go from 02:00 to 03:00) comes with the first moment after; one that they show twice
comes the first time. What comes each hour or each minute goes by elapsed time. So cron of Debian has it, and `cronsim` here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import blake2b
from itertools import islice, takewhile
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cloche.errors import UsageError
from cloche.history.ids import TenantId, TimeMs
from cloche.history.values import decode, encode
from cloche.text import quoted

CRON_CHARS_MAX = 200
EVERY_MS_MAX = 10 * 366 * 86_400_000
CATCH_UP_MAX = 1_000  # each is found by computing those after it
JITTER_MS_MAX = 86_400_000
_LAST_MS = 253_370_764_800_000  # the year 9999: the calendar ends soon after
_WINDOW_MS = 60_000  # in which the newest instants are looked for first


class Overlap(StrEnum):
    """What happens at an instant while the run before has not ended."""

    SKIP = "skip"
    QUEUE = "queue"
    ALLOW = "allow"
    REPLACE = "replace"


class CatchUp(StrEnum):
    """Which of the instants count that nobody has seen to when they came."""

    NONE = "none"
    LATEST = "latest"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """One of `cron`, `every_ms` and `at` is given. `input` is plain; `at` is in ms since 1970; `tz` is a name of the IANA."""

    workflow: str
    input: Any = None
    cron: str | None = None
    every_ms: int | None = None
    at: int | None = None
    tz: str = "UTC"
    overlap: str = Overlap.SKIP
    catch_up: str = CatchUp.LATEST
    catch_up_max: int = 100
    jitter_ms: int = 0

    def pack(self) -> bytes:
        return encode(asdict(self))

    @classmethod
    def unpack(cls, data: bytes) -> ScheduleSpec:
        return cls(**decode(data))

    def checked(self) -> ScheduleSpec:
        """The same.

        Raises:
            UsageError: it says nothing that can be meant.
        """
        if [self.cron, self.every_ms, self.at].count(None) != 2:
            raise UsageError("a schedule has one of cron=, every= and at=")
        for what, value, known in (("overlap", self.overlap, Overlap), ("catch_up", self.catch_up, CatchUp)):
            if value not in list(known):
                raise UsageError(f"{what} is one of {', '.join(known)}, not {quoted(value)}")
        _between("every", self.every_ms, 1_000, EVERY_MS_MAX)
        _between("catch_up_max", self.catch_up_max, 1, CATCH_UP_MAX)
        _between("jitter_s", self.jitter_ms, 0, JITTER_MS_MAX)
        _between("at", self.at, 0, _LAST_MS)
        zone(self.tz)
        if self.cron is not None:
            _check_cron(self.cron)
        return self

    def after(self, moment: int) -> Iterator[TimeMs]:
        """Its instants after a moment, in order; each is whole seconds, but `at`."""
        if self.at is not None:
            yield from [TimeMs(self.at)] if self.at > moment else []
        elif self.every_ms is not None:
            instant = (moment // self.every_ms + 1) * self.every_ms
            while instant <= _LAST_MS:
                yield TimeMs(instant)
                instant += self.every_ms
        else:
            yield from _of_cron(str(self.cron), zone(self.tz), moment)

    def next_after(self, moment: int) -> TimeMs | None:
        """The first of them; None: there is none any more."""
        return next(self.after(moment), None)

    def newest(self, first: int, until: int, most: int) -> list[TimeMs]:
        """Of the instants from `first` to `until` the newest, so many at most, in order; found from the end."""
        if self.every_ms is not None:
            first = max(first, until - self.every_ms * most)
        window = _WINDOW_MS
        while True:
            begin = max(first - 1, until - window)
            found = list(takewhile(lambda instant: instant <= until, self.after(begin)))
            if len(found) >= most or begin == first - 1:
                return found[-most:]
            window *= 4

    def count(self, first: int, before: int, most: int) -> int:
        """How many instants there are from `first` on and before the other; it counts to `most`."""
        return sum(1 for _ in takewhile(lambda instant: instant < before, islice(self.after(first - 1), most)))

    def due(self, tenant: TenantId, id: str, instant: TimeMs) -> TimeMs:
        """When it is to be seen to: with its jitter, which follows from the schedule and the instant, and ends before the
        instant that comes after it."""
        if not self.jitter_ms:
            return instant
        most, following = self.jitter_ms + 1, self.next_after(instant)
        if following is not None:
            most = min(most, following - instant)
        drawn = blake2b(f"{tenant}\x1f{id}\x1f{instant}".encode(), digest_size=8).digest()
        return TimeMs(instant + int.from_bytes(drawn) % most)


def zone(name: str) -> ZoneInfo:
    """
    Raises:
        UsageError: this machine knows no such time zone.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"there is no time zone {name[:64]!r}: write one such as Europe/Berlin") from None


def _between(what: str, value: int | None, least: int, most: int) -> None:
    if value is not None and not least <= value <= most:
        raise UsageError(f"{what} is from {least:,} to {most:,} in ms, or in numbers: this is {_number(value)}")


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and abs(value) < 1 << 64 else quoted(value)


def _check_cron(text: str) -> None:
    from cronsim import CronSim, CronSimError

    try:
        if len(text) > CRON_CHARS_MAX:
            raise CronSimError(f"longer than {CRON_CHARS_MAX} characters")
        next(CronSim(text, datetime(2000, 1, 1, tzinfo=UTC)), None)
    except CronSimError as error:
        raise UsageError(
            f"{text[:CRON_CHARS_MAX]!r} is no cron expression ({error}): write five fields, minute, hour, day, month and day "
            "of the week, such as '30 2 * * *'"
        ) from None
    if next(_of_cron(text, ZoneInfo("UTC"), 0), None) is None:
        raise UsageError(f"no day is ever one that '{text}' means")


def _of_cron(text: str, zone: ZoneInfo, moment: int) -> Iterator[TimeMs]:
    from cronsim import CronSim  # 8 ms, and only where there are schedules

    last = max(moment, 0)
    start = datetime.fromtimestamp(last // 1000, UTC).astimezone(zone)
    try:
        for found in CronSim(text, start if zone.key != "UTC" else start.replace(tzinfo=UTC)):
            instant = round(found.timestamp()) * 1000
            if (
                instant > last
            ):  # several that are skipped come as one, and the second of two that look alike does not come
                last = instant
                yield TimeMs(instant)
    except (OverflowError, ValueError):  # the end of the calendar
        return
