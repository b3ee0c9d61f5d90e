"""The workflow for Temporal's Replayer, in a module of its own: its sandbox imports it anew for every run."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity, workflow

LIMIT = timedelta(seconds=60)


@activity.defn
async def inc(x: int) -> int:
    return x + 1


@workflow.defn
class Sequential:
    @workflow.run
    async def run(self, count: int) -> int:
        x = 0
        for _ in range(count):
            x = await workflow.execute_activity(inc, x, start_to_close_timeout=LIMIT)
        return x
