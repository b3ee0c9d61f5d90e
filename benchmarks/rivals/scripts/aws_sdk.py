"""AWS durable execution SDK on its own test runner: there is no service to run locally.

Replay: after N steps the function waits, the runner calls it again (time is skipped) and the SDK walks over the N steps that it
has in memory. Only that second walk is timed.
"""

from __future__ import annotations

import json
import logging
import time

from aws_durable_execution_sdk_python import DurableContext, durable_execution
from aws_durable_execution_sdk_python.config import Duration
from aws_durable_execution_sdk_python_testing.runner import DurableFunctionTestRunner
from rows import row, sizes

logging.disable(logging.CRITICAL)
walks: list[float] = []
executed = 0


def adding(x: int):
    def step(_context) -> int:
        global executed
        executed += 1
        return x + 1

    return step


@durable_execution
def sequential(event, context: DurableContext):
    begin, x = time.perf_counter(), 0
    for _ in range(event["n"]):
        x = context.step(adding(x), name="inc")
    walks.append(time.perf_counter() - begin)
    context.wait(Duration.from_seconds(1))
    return x


def replayed(count: int) -> float:
    global executed
    walks.clear()
    executed = 0
    with DurableFunctionTestRunner(sequential, poll_interval=0.001) as runner:
        result = runner.run(input=json.dumps({"n": count}), execution_timeout=120)
    assert result.status.name == "SUCCEEDED", result.error
    assert executed == count, "a step ran again"
    assert len(walks) == 2, "it was not replayed once"
    return walks[1]


for count in sizes(10, 100, 1_000):
    row("replay", "history in memory", count, [replayed(count) for _ in range(5 if count < 1_000 else 3)])
