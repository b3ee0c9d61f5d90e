"""Plain workflows of Temporal, to be measured beside cloche's."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import activity, workflow

MINUTE = timedelta(minutes=1)


@activity.defn(name="perform")
async def perform(data: dict[str, Any]) -> dict[str, Any]:
    return {"x": data["x"] + 1}


async def _step(data: dict[str, Any], is_local: bool) -> dict[str, Any]:
    if is_local:
        made: dict[str, Any] = await workflow.execute_local_activity("perform", data, start_to_close_timeout=MINUTE)
    else:
        made = await workflow.execute_activity("perform", data, start_to_close_timeout=MINUTE)
    return made


@workflow.defn(name="plain-loop", sandboxed=False)
class PlainLoop:
    @workflow.run
    async def run(self, given: dict[str, Any]) -> dict[str, Any]:
        data = {"x": given["x"]}
        while data["x"] < 0:
            data = await _step(data, given["local"])
        return data


@workflow.defn(name="plain-one", sandboxed=False)
class PlainOne:
    @workflow.run
    async def run(self, given: dict[str, Any]) -> dict[str, Any]:
        return await _step({"x": given["x"]}, given["local"])
