"""The schedules of a tenant, of a client of a server: the names of `Schedules`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cloche.client.remote.run import RemoteRun
from cloche.client.remote.transport import segment, values
from cloche.errors import UsageError
from cloche.history.ids import stored_run_key
from cloche.history.values import plain
from cloche.operations.forms import instant, instant_ms
from cloche.operations.schedules import FiringInfo, ScheduleInfo, spec_of

if TYPE_CHECKING:
    import builtins

    from typing_extensions import Unpack

    from cloche.client.remote.run import Asking
    from cloche.client.schedules import Schedule, Times
    from cloche.history import TenantId
    from cloche.run.clock import World
    from cloche.store import Version
    from cloche_codegen import Workflow


class RemoteSchedules:
    """Each method raises as the one of `Schedules` whose name it has. The server knows by the token who does it."""

    def __init__(self, runs: Asking, tenant: TenantId, world: World) -> None:
        self._runs = runs
        self._tenant = tenant
        self._world = world

    async def put(
        self, id: str, workflow: str | Version | Workflow, *, input: Any = None, by: str = "", **times: Unpack[Times]
    ) -> ScheduleInfo:
        """As `Schedules.put`."""
        named = workflow if isinstance(workflow, str) else workflow.id
        spec = spec_of(named, now=self._world.now(), **times)
        body: dict[str, Any] = {"workflow": named, "input": plain(input, "input"), **times}
        if spec.at is not None:
            body["at"] = instant(spec.at)
        if spec.every_ms is not None:
            body["every"] = spec.every_ms / 1000
        return _info(await self._runs.ask("PUT", _place(id), body))

    async def put_all(self, of: Sequence[Schedule]) -> None:
        """As `Schedules.put_all`."""
        for one in of:
            more: Any = {name: value for name, value in vars(one).items() if name not in ("id", "workflow")}
            await self.put(one.id, one.workflow, **more)

    async def pause(self, id: str, *, by: str = "") -> ScheduleInfo:
        """As `Schedules.pause`."""
        return _info(await self._runs.ask("POST", f"{_place(id)}/pause"))

    async def resume(self, id: str, *, by: str = "") -> ScheduleInfo:
        """As `Schedules.resume`."""
        return _info(await self._runs.ask("POST", f"{_place(id)}/resume"))

    async def fire(self, id: str) -> RemoteRun:
        """As `Schedules.fire`."""
        made = values(await self._runs.ask("POST", f"{_place(id)}/fire"))
        return RemoteRun(self._runs, stored_run_key(made["id"], self._tenant), self._world)

    async def delete(self, id: str, *, by: str = "") -> None:
        """As `Schedules.delete`."""
        await self._runs.ask("DELETE", _place(id))

    async def list(self) -> Sequence[ScheduleInfo]:
        """As `Schedules.list`."""
        return [_info_of(one) for one in values(await self._runs.ask("GET", "/schedules"))["schedules"]]

    async def get(self, id: str) -> ScheduleInfo:
        """As `Schedules.get`."""
        return _info(await self._runs.ask("GET", _place(id)))

    async def upcoming(self, id: str, count: int = 10) -> builtins.list[int]:
        """As `Schedules.upcoming`."""
        found = values(await self._runs.ask("GET", f"{_place(id)}/upcoming", parameters={"count": count}))
        return [instant_ms(one) for one in found["instants"]]

    async def firings(self, id: str, *, before: int | None = None, limit: int = 100) -> builtins.list[FiringInfo]:
        """As `Schedules.firings`."""
        if not 1 <= limit <= 1_000:
            raise UsageError("limit is from 1 to 1,000: no more are kept of a schedule")
        asked = {"before": before, "limit": limit}
        found = values(await self._runs.ask("GET", f"{_place(id)}/firings", parameters=asked))["firings"]
        return [FiringInfo(**_in_ms(one, "instant", "at", "until")) for one in found]


def _place(id: str) -> str:
    return f"/schedules/{segment(id)}"


def _info(answer: Any) -> ScheduleInfo:
    return _info_of(values(answer))


def _info_of(data: Mapping[str, Any]) -> ScheduleInfo:
    queued = [instant_ms(one) for one in data["queued"]]
    return ScheduleInfo(**{**_in_ms(data, "next_at", "created_at"), "queued": queued})


def _in_ms(data: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {**data, **{name: instant_ms(data[name]) for name in names if data[name] is not None}}
