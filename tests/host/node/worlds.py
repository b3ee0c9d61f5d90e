"""What the 18 workflows of @workflow/world-testing are called with, and what they give."""

from __future__ import annotations

import asyncio
from typing import Any

from support.world_testing import flow_script, step_file

from cloche import Cloche, NodeSteps, NotFound, Policy, RunResult

TENANT = "acme"
PAYLOADS = [
    {"data": str(n), "metadata": {"customData": "mine"}} | ({"done": True} if n == 3 else {}) for n in (1, 2, 3)
]


def _is_run(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("wrun_")


def _both_errors(value: Any) -> bool:
    return value["gotFatalError"] is True and value["retryableResult"]["attempt"] == 2


CASES: dict[str, tuple[list[Any], Any]] = {
    "addition//addition": ([1, 2], 3),
    "addition//addTenWorkflow": ([123], 133),
    "hooks//collectWithHook": (["tok", "mine"], {"collected": PAYLOADS}),
    "inline-execution//sequentialStepsWorkflow": ([10], 20),
    "inline-execution//sequentialStepsWithStreamWorkflow": ([], "hello world"),
    "inline-execution//sleepWorkflow": ([], 3),
    "inline-execution//parallelStepsWorkflow": ([], 33),
    "inline-execution//threeBatchesOfFiveWorkflow": ([], [ten + n for n in (1, 2, 3) for ten in range(10, 60, 10)]),
    "inline-execution//hookWorkflow": (
        ["tok2"],
        "TypeError",
    ),  # it calls hook.next(), which hooks do not have there either
    "lineage//bodyStartsChild": ([], _is_run),
    "lineage//spawnedChild": ([], "done"),
    "lineage//chainRoot": ([], _is_run),
    "lineage//chainMiddle": ([], _is_run),
    "lineage//chainLeaf": ([], "done"),
    "noop//brokenWf": ([], lambda value: sorted(value["numbers"]) == list(range(1, 21))),
    "null-byte//nullByteWorkflow": ([], "null byte \0"),
    "retriable-and-fatal//retryableAndFatalErrorWorkflow": ([], _both_errors),
    "signal-cost//signalCostWorkflow": ([{"count": 5, "withSignal": True}], "done"),
}


def full(name: str) -> str:
    return f"workflow//./workflows/{name}"


def run_id(name: str) -> str:
    return f"wrun_{list(CASES).index(name)}"


def app(store: str, engine: Any) -> Cloche:
    file = step_file()
    assert file is not None
    return Cloche(store, steps=[NodeSteps(file)], policy=Policy(), engine=engine)


async def deploy(opened: Cloche) -> None:
    source = flow_script() + "\nexport default globalThis.__private_workflows;\n"
    for name in CASES:
        await opened.deploy(TENANT, source, workflow=full(name), language="javascript")


async def play(opened: Cloche, name: str) -> RunResult[Any]:
    """Begin it, or find it begun, and give it what it waits for."""
    tenant = opened.tenant(TENANT)
    run = await tenant.start(full(name), CASES[name][0], run_id=run_id(name))
    ended = asyncio.ensure_future(run.result())
    for n, payload in enumerate(PAYLOADS if name.endswith("collectWithHook") else []):
        while not ended.done():
            try:
                await tenant.resume_hook("tok", payload, idempotency_key=f"payload-{n}")
                break
            except NotFound:
                await asyncio.sleep(0.05)
    return await ended


def is_right(name: str, result: RunResult[Any]) -> bool:
    expected = CASES[name][1]
    if result.status != "success":
        return expected == "TypeError" and result.error is not None and result.error.name == expected
    return bool(expected(result.result)) if callable(expected) else result.result == expected
