"""The schedules of a tenant, of a client of a server: the names of `Schedules`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from cloche.client.remote.run import RemoteRun
from cloche.client.remote.transport import segment, values
from cloche.errors import UsageError
from cloche.history.ids import run_key
from cloche.history.values import plain
from cloche.operations.forms import instant, instant_ms
from cloche.operations.schedules import FiringInfo, ScheduleInfo, spec_of

if TYPE_CHECKING:
    import builtins

    from cloche.client.remote.client import RemoteRuns
    from cloche.client.schedules import Schedule
    from cloche.store import Version
    from cloche_codegen import Workflow


class RemoteSchedules:
    """Each method raises as the one of `Schedules` whose name it has. The server knows by the token who does it."""

    def __init__(self, runs: RemoteRuns) -> None:
        self._runs = runs

    async def put(
        self,
        id: str,
        workflow: str | Version | Workflow,
        *,
        cron: str | None = None,
        every: timedelta | float | None = None,
        at: datetime | timedelta | str | None = None,
        tz: str = "UTC",
        input: Any = None,
        overlap: str = "skip",
        catch_up: str = "latest",
        catch_up_max: int = 100,
        jitter_s: float = 0,
        by: str = "",
    ) -> ScheduleInfo:
        """As `Schedules.put`."""
        named = workflow if isinstance(workflow, str) else workflow.id
        times: dict[str, Any] = {"cron": cron, "every": every, "at": at, "tz": tz, "jitter_s": jitter_s}
        rules: dict[str, Any] = {"overlap": overlap, "catch_up": catch_up, "catch_up_max": catch_up_max}
        spec = spec_of(named, now=self._runs._server.world.now(), **times, **rules)
        if spec.at is not None:
            times["at"] = instant(spec.at)
        times["every"] = None if spec.every_ms is None else spec.every_ms / 1000
        body = {"workflow": named, "input": plain(input, "input"), **times, **rules}
        return _info(await self._runs.ask("PUT", _place(id), body))

    async def put_all(self, of: Sequence[Schedule]) -> None:
        """As `Schedules.put_all`."""
        for one in of:
            more = {name: value for name, value in vars(one).items() if name not in ("id", "workflow")}
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
        return RemoteRun(self._runs, run_key(made["id"], self._runs.tenant_id), self._runs._server.world)

    async def delete(self, id: str, *, by: str = "") -> None:
        """As `Schedules.delete`."""
        await self._runs.ask("DELETE", _place(id))

    async def list(self) -> Sequence[ScheduleInfo]:
        """As `Schedules.list`."""
        return [_info_of(one) for one in values(await self._runs.ask("GET", "/schedules"))["schedules"]]

    async def get(self, id: str) -> ScheduleInfo:
        """As `Schedules.get`."""
        return _info(await self._runs.ask("GET", _place(id)))

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
