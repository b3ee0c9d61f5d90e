"""Schedules as they are put, paused, fired by hand and shown. Workers see to their instants (`worker.schedules`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from cloche.errors import LimitExceeded, NotFound, UsageError
from cloche.history import RunKey, TimeMs
from cloche.history.bounds import exceeded
from cloche.history.ids import FIRED, RunId, is_valid_id, schedule_run_key
from cloche.history.values import encode_plain, plain
from cloche.operations.acts import Act, write_act
from cloche.operations.filters import count_of
from cloche.operations.forms import instant
from cloche.store import Firing, ScheduleRow, Store
from cloche.text import quoted
from cloche.worker.answers import refusal_of, start_token
from cloche.worker.firing import Move, with_next
from cloche.worker.schedule_spec import CatchUp, Overlap, ScheduleSpec, zone
from cloche.worker.schedules import counts, is_open_run, start_post

if TYPE_CHECKING:
    from cloche.history import TenantId
    from cloche.tenancy import Policy

UPCOMING_MAX = FIRINGS_MAX = 1_000  # that are told at once; of firings no more are kept


@dataclass(frozen=True, slots=True)
class ScheduleInfo:
    """A schedule as it stands. Times in ms since 1970; `next_at` None: it begins no run any more, or is paused.

    `when` says it in words: `cron 30 2 * * *`, `every 600 s`, `at 2026-12-24T18:00:00.000Z`. `queued` are instants that wait
    until the run before has ended. `last_run` is the id of the run that it has begun last.
    """

    id: str
    tenant: str
    workflow: str
    when: str
    tz: str
    input: Any
    overlap: str
    catch_up: str
    catch_up_max: int
    jitter_s: float
    is_paused: bool
    next_at: int | None
    queued: Sequence[int]
    last_run: str | None
    created_at: int

    def to_data(self) -> dict[str, Any]:
        """For JSON: times as RFC 3339."""
        times = {"next_at": self.next_at, "created_at": self.created_at}
        shown = {name: None if at is None else instant(at) for name, at in times.items()}
        return {**asdict(self), **shown, "queued": [instant(at) for at in self.queued]}


@dataclass(frozen=True, slots=True)
class FiringInfo:
    """What came of an instant: `outcome` is `fired`, `skipped` or `refused` (no worker could begin the run), with the `reason`.

    `instant` is the time that was planned, `at` when it was dealt with, in ms since 1970. Of several that were skipped
    together `until` is the last one, and `count` how many (1,000: or more).
    """

    number: int
    outcome: str
    instant: int
    at: int
    run: str | None
    reason: str
    until: int | None
    count: int

    def to_data(self) -> dict[str, Any]:
        """For JSON: times as RFC 3339."""
        times = {"instant": self.instant, "at": self.at, "until": self.until}
        return {**asdict(self), **{name: None if at is None else instant(at) for name, at in times.items()}}


def spec_of(
    workflow: str,
    input: Any = None,
    *,
    now: TimeMs,
    cron: str | None = None,
    every: timedelta | float | None = None,
    at: datetime | timedelta | str | None = None,
    tz: str = "UTC",
    overlap: str = Overlap.SKIP,
    catch_up: str = CatchUp.LATEST,
    catch_up_max: int = 100,
    jitter_s: float = 0,
) -> ScheduleSpec:
    """What a schedule says, from what a person writes; as `client.Schedules.put`.

    Raises:
        UsageError: it cannot be meant. InvalidInput: the input cannot cross.
    """
    return ScheduleSpec(
        workflow,
        plain(input, "input"),
        cron=cron,
        every_ms=None if every is None else _milliseconds(every, "every"),
        at=None if at is None else _moment(at, tz, now),
        tz=tz,
        overlap=str(overlap),
        catch_up=str(catch_up),
        catch_up_max=catch_up_max,
        jitter_ms=_milliseconds(jitter_s, "jitter_s"),
    ).checked()


async def put(
    store: Store, tenant: TenantId, id: str, spec: ScheduleSpec, now: TimeMs, *, policy: Policy | None = None, by: str
) -> ScheduleInfo:
    """Make a schedule, or give one that is there another spec. With the spec that it has nothing changes.

    Raises:
        UsageError: `id` is not one.
        LimitExceeded: `policy`, where it is known, does not allow it; where it is not, workers begin no run of it.
    """
    if not is_valid_id(id):
        raise UsageError(f"the id of a schedule is a name, up to 200 bytes of text; this is {id[:200]!r}")
    while True:
        before = await store.schedule(tenant, id)
        if before is not None and before.spec == spec.pack():
            return info_of(before)
        first = TimeMs(spec.at) if spec.at is not None else spec.next_after(now)
        row = before or ScheduleRow(tenant, id, b"", 0, now, now)
        row = replace(row, spec=spec.pack(), version=row.version + 1, updated_at=now)
        row = with_next(row, spec, first, now)
        if policy is not None:
            await _check_policy(store, row, spec, policy)
        await write_act(store, Act.SCHEDULE, by, now, tenant, schedule=id, done="put")
        if await store.move_schedule(row, at=now):
            return info_of(row)


async def _check_policy(store: Store, row: ScheduleRow, spec: ScheduleSpec, policy: Policy) -> None:
    if (size := len(encode_plain(spec.input))) > policy.payload_bytes:
        raise exceeded("payload_bytes", policy.payload_bytes, size, "the input of a schedule")
    others = [one for one in await store.schedules(row.tenant) if counts(one) and one.id != row.id]
    if len(others) >= policy.schedules:
        raise LimitExceeded(
            f"tenant {row.tenant} has {len(others)} schedules, and its policy allows {policy.schedules}: delete one first",
            limit="schedules",
            value=policy.schedules,
            asked=len(others) + 1,
        )
    following = None if row.next_at is None else spec.next_after(row.next_at)
    every_s = None if following is None or row.next_at is None else (following - row.next_at) / 1000
    if every_s is not None and every_s < policy.schedule_every_s:
        raise LimitExceeded(
            f"schedule '{row.id}' comes after {every_s:g} s, and the policy of tenant {row.tenant} allows one run in "
            f"{policy.schedule_every_s} s",
            limit="schedule_every_s",
            value=policy.schedule_every_s,
            asked=every_s,
        )


async def pause(store: Store, tenant: TenantId, id: str, now: TimeMs, *, by: str) -> ScheduleInfo:
    """Begin no run until it is resumed. Raises `NotFound`."""
    await write_act(store, Act.SCHEDULE, by, now, tenant, schedule=id, done="paused")
    while True:
        row = await found(store, tenant, id)
        paused = replace(row, version=row.version + 1, updated_at=now, is_paused=True, due_at=None)
        if row.is_paused or await store.move_schedule(paused, at=now):
            return info_of(paused)


async def resume(store: Store, tenant: TenantId, id: str, now: TimeMs, *, by: str) -> ScheduleInfo:
    """Go on with the instants after now; those that came meanwhile are skipped. Raises `NotFound`."""
    await write_act(store, Act.SCHEDULE, by, now, tenant, schedule=id, done="resumed")
    while True:
        row = await found(store, tenant, id)
        if not row.is_paused:
            return info_of(row)
        spec = ScheduleSpec.unpack(row.spec)
        move = Move(replace(row, version=row.version + 1, updated_at=now, is_paused=False))
        following = row.next_at
        if row.next_at is not None and row.next_at <= now:
            last = spec.newest(row.next_at, now, 1)[-1]
            many = last if last > row.next_at else None
            move.skip(row.next_at, now, "it was paused", many, spec.count(row.next_at, TimeMs(now + 1), 1_000))
            following = spec.next_after(now)
        move.row = with_next(move.row, spec, following, now)
        if await store.move_schedule(move.row, firings=move.firings, at=now):
            return info_of(move.row)


async def fire(store: Store, tenant: TenantId, id: str, now: TimeMs) -> RunKey:
    """Begin a run of it now, whatever is planned, paused or not, and whether the one before has ended. Its key.

    Raises:
        NotFound: there is no such schedule.
    """
    while True:
        row = await found(store, tenant, id)
        spec = ScheduleSpec.unpack(row.spec)
        key = schedule_run_key(tenant, id, FIRED, now)
        if await store.run(key) is not None or await store.request(start_token(key)) is not None:
            now = TimeMs(now + 1)  # somebody has fired it in this very moment
            continue
        move = Move(replace(row, version=row.version + 1, updated_at=now))
        move.start(key.run, now, now)
        move.firings[0] = replace(move.firings[0], reason="fired by hand")
        if await store.move_schedule(move.row, [start_post(move.row, spec, key, now)], move.firings, at=now):
            return key


async def delete(store: Store, tenant: TenantId, id: str, now: TimeMs, *, by: str) -> None:
    """Forget a schedule and its journal. Its runs stay. Raises `NotFound`."""
    await found(store, tenant, id)
    await write_act(store, Act.SCHEDULE, by, now, tenant, schedule=id, done="deleted")
    await store.delete_schedule(tenant, id)


async def found(store: Store, tenant: TenantId, id: str) -> ScheduleRow:
    """
    Raises:
        NotFound: the tenant has no such schedule.
    """
    row = await store.schedule(tenant, id)
    if row is None:
        raise NotFound(f"tenant {tenant} has no schedule {quoted(id)}", kind="schedule", id=id)
    return row


async def firings(
    store: Store, tenant: TenantId, id: str, *, before: int | None = None, limit: int = 100
) -> list[FiringInfo]:
    """A page of what came of its instants, the newest first. Raises `NotFound`."""
    await found(store, tenant, id)
    first = None if before is None else count_of("before", before)
    page = await store.firings(tenant, id, before=first, limit=min(count_of("limit", limit), FIRINGS_MAX))
    return [await _firing(store, tenant, one) for one in page]


async def _firing(store: Store, tenant: TenantId, one: Firing) -> FiringInfo:
    outcome, reason = "fired" if one.run is not None else "skipped", one.reason
    if one.run is not None:
        key = RunKey(tenant, RunId(one.run))
        if not await is_open_run(store, key) and await store.run(key) is None:
            answer = await store.answer(start_token(key))
            if answer is not None and answer.startswith("{"):
                outcome, reason = "refused", refusal_of(answer).message
    return FiringInfo(one.number, outcome, one.instant, one.at, one.run, reason, one.until, one.count)


def info_of(row: ScheduleRow) -> ScheduleInfo:
    """A row as it is shown."""
    spec = ScheduleSpec.unpack(row.spec)
    return ScheduleInfo(
        id=row.id,
        tenant=row.tenant,
        workflow=spec.workflow,
        when=when(spec),
        tz=spec.tz,
        input=spec.input,
        overlap=spec.overlap,
        catch_up=spec.catch_up,
        catch_up_max=spec.catch_up_max,
        jitter_s=spec.jitter_ms / 1000,
        is_paused=row.is_paused,
        next_at=None if row.is_paused else row.next_at,
        queued=list(row.queued),
        last_run=row.last_run,
        created_at=row.created_at,
    )


def upcoming(row: ScheduleRow, now: TimeMs, count: int) -> list[int]:
    """The next instants, in ms since 1970, without their jitter: none of one that is paused or over."""
    if row.is_paused or row.next_at is None:
        return []
    most = min(count_of("count", count), UPCOMING_MAX)
    return list(islice(ScheduleSpec.unpack(row.spec).after(max(now, row.next_at - 1)), most))


def when(spec: ScheduleSpec) -> str:
    """In words, when it begins runs."""
    if spec.cron is not None:
        return f"cron {spec.cron}"
    if spec.every_ms is not None:
        return f"every {spec.every_ms / 1000:g} s"
    return f"at {instant(spec.at or 0)}"


def _milliseconds(value: timedelta | float, name: str) -> int:
    if isinstance(value, timedelta):
        return round(value.total_seconds() * 1000)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e10:
        raise UsageError(f"{name} is a number of seconds, or a timedelta: this is {quoted(value)}")
    return round(value * 1000)


def _moment(at: datetime | timedelta | str, tz: str, now: TimeMs) -> int:
    """In ms since 1970. A time without an offset is one of the zone; a timedelta counts from now."""
    if isinstance(at, timedelta):
        return now + round(at.total_seconds() * 1000)
    try:
        found = datetime.fromisoformat(at) if isinstance(at, str) else at
        if found.tzinfo is None:
            found = found.replace(tzinfo=zone(tz))
        return round(found.timestamp() * 1000)
    except (ValueError, OverflowError, AttributeError) as error:
        raise UsageError(
            f"at is a datetime, an ISO text or a timedelta from now: {quoted(at)} is none ({error})"
        ) from None
