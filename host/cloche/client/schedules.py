"""Schedules of one tenant, as users hold them: `client.schedules`; and as they stand in code, `Cloche(schedules=[…])`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from cloche.client.runs import Run
from cloche.errors import UsageError
from cloche.operations import schedules
from cloche.operations.schedules import FiringInfo, ScheduleInfo

if TYPE_CHECKING:
    import builtins
    from datetime import datetime, timedelta

    from typing_extensions import Unpack

    from cloche.client.ports import RunOwner
    from cloche.history import TenantId, TimeMs
    from cloche.store import Store, Version
    from cloche_codegen import Workflow


class Times(TypedDict, total=False):
    """When a schedule begins runs, and by which rules: see `Schedules.put`."""

    cron: str | None
    every: timedelta | float | None
    at: datetime | timedelta | str | None
    tz: str
    overlap: str
    catch_up: str
    catch_up_max: int
    jitter_s: float


@dataclass(frozen=True)
class Schedule:
    """A schedule in code: put each time that the `Cloche` which has it is entered. See `Schedules.put` for its times.

    One that is taken out of the code stays in the store until it is deleted. Where two versions of a program run at a time,
    the one that was entered last has its say.
    """

    id: str
    workflow: str | Version | Workflow
    _: KW_ONLY
    input: Any = None
    cron: str | None = None
    every: timedelta | float | None = None
    at: datetime | str | None = None
    tz: str = "UTC"
    overlap: str = "skip"
    catch_up: str = "latest"
    catch_up_max: int = 100
    jitter_s: float = 0


class Schedules:
    """What begins a tenant's runs at set times. Any number of workers see to it, and one run begins at each instant."""

    def __init__(self, runs: RunOwner, tenant: TenantId) -> None:
        self._runs = runs
        self._tenant = tenant

    async def put(
        self, id: str, workflow: str | Version | Workflow, *, input: Any = None, by: str = "", **times: Unpack[Times]
    ) -> ScheduleInfo:
        """Make a schedule, or change the one of this id; the same again changes nothing. Durable when it returns.

        A run's id follows from schedule and instant. It has the tag `schedule`, and its steps find `schedule` and
        `scheduled_at` (ISO) in `ctx.request_context`.

        Args:
            cron: five fields (or six, with seconds first), by the clocks of `tz`.
            every: seconds, at least 1: at whole multiples of it since 1970, so a quarter of an hour is on the quarter.
            at: once. A text is ISO; without an offset it is a time of `tz`. A timedelta counts from now.
            input: what each run is given.
            overlap: where the run before has not ended at an instant `skip` it, `queue` it until then, `allow` both,
                or `replace`: cancel the one before.
            catch_up: of the instants that no worker has seen begin `none`, the `latest`, or `all`, `catch_up_max` at most
                (up to 1,000). `none` leaves one out that is more than a minute late.
            jitter_s: each begins up to so much later; how much follows from schedule and instant.
            by: who does it, for the audit log.

        Raises:
            UsageError: it cannot be meant.
            NotFound: there is no such workflow. InvalidInput: the input does not fit it.
            LimitExceeded: the tenant's policy does not allow it. A `Client` does not know it: there workers skip what it does
                not allow, and the journal says so.
        """
        connection, now = self._runs.connection, self._now()
        spec = schedules.spec_of(workflow if isinstance(workflow, str) else workflow.id, input, now=now, **times)
        policy = await connection.check_schedule(self._tenant, workflow, spec.input)
        info = await schedules.put(connection.store, self._tenant, id, spec, now, policy=policy, by=by)
        await connection.scheduled()
        return info

    async def put_all(self, of: Sequence[Schedule]) -> None:
        """Those that stand in code. Raises as `put`."""
        for one in of:
            more: Any = {name: value for name, value in vars(one).items() if name not in ("id", "workflow")}
            await self.put(one.id, one.workflow, **more)

    async def pause(self, id: str, *, by: str = "") -> ScheduleInfo:
        """Begin no run until it is resumed. Raises `NotFound`."""
        return await schedules.pause(*self._of(), id, self._now(), by=by)

    async def resume(self, id: str, *, by: str = "") -> ScheduleInfo:
        """Go on with what comes after now; what came while it was paused is skipped. Raises `NotFound`."""
        info = await schedules.resume(*self._of(), id, self._now(), by=by)
        await self._runs.connection.scheduled()
        return info

    async def fire(self, id: str) -> Run[Any]:
        """Begin a run now, whatever is planned: also of one that is paused, and beside a run that has not ended.

        Raises:
            NotFound: there is no such schedule.
        """
        key = await schedules.fire(*self._of(), id, self._now())
        await self._runs.connection.posted()
        return Run(self._runs, key, None)

    async def delete(self, id: str, *, by: str = "") -> None:
        """Forget it and its journal; its runs stay. Raises `NotFound`."""
        await schedules.delete(*self._of(), id, self._now(), by=by)

    async def list(self) -> Sequence[ScheduleInfo]:
        """All of the tenant's, in the order of their ids."""
        store, tenant = self._of()
        return [schedules.info_of(row) for row in await store.schedules(tenant)]

    async def get(self, id: str) -> ScheduleInfo:
        """One of them. Raises `NotFound`."""
        return schedules.info_of(await schedules.found(*self._of(), id))

    async def upcoming(self, id: str, count: int = 10) -> builtins.list[int]:
        """Its next instants, in ms since 1970; none where it is paused or over. Raises `NotFound`."""
        return schedules.upcoming(await schedules.found(*self._of(), id), self._now(), count)

    async def firings(self, id: str, *, before: int | None = None, limit: int = 100) -> builtins.list[FiringInfo]:
        """What fired, and what was skipped and why, the newest first; `before` is the `number` of an entry.

        Of each schedule the last 1,000 are kept. Raises `NotFound`.
        """
        return await schedules.firings(*self._of(), id, before=before, limit=limit)

    def _of(self) -> tuple[Store, TenantId]:
        return self._runs.connection.store, self._tenant

    def _now(self) -> TimeMs:
        return self._runs.connection.world.now()


def checked_schedules(of: Sequence[Schedule]) -> Sequence[Schedule]:
    """
    Raises:
        UsageError: one of them is something else.
    """
    for one in of:
        if not isinstance(one, Schedule):
            raise UsageError(f"Cloche(schedules=[…]) takes Schedule(id, workflow, …), not a {type(one).__name__}")
    return tuple(of)
