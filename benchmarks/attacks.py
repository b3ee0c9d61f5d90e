"""What a tenant that means harm does to one that works: an attack a line, on both engines that are for strangers' code.

Each makes its demands for as long as it is measured. What is refused is refused to the attacker: the neighbour's steps and its
longest pause are all that counts.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cloche import Cloche, Grant, Policy, create_step, create_workflow
from cloche.errors import ClocheError

STEP = 'const step = globalThis[Symbol.for("WORKFLOW_USE_STEP")];\n'
PYTHON = "import cloche\nfrom cloche import gather, step, workflow\n\n@workflow\nasync def main(input):\n"
nothing = create_step(id="nothing", execute=lambda data: None)
STRICT = Policy.strict(steps=[Grant(step="nothing")], child_workflows=["w"])


@dataclass(frozen=True, slots=True)
class Attack:
    """`begin` does once what it needs, `again` is done over and over; both with the attacker's handle and a number."""

    name: str
    again: Callable[[Any, int], Awaitable[object]]
    begin: Callable[[Any], Awaitable[object]] | None = None
    at_once: int = 4


async def attacked_beside(app: Cloche, attack: Attack, seconds: float) -> None:
    """Attack for so long."""
    mallory = app.tenant("mallory")
    if attack.begin is not None:
        await attack.begin(mallory)
    numbers, until = itertools.count(), asyncio.get_running_loop().time() + seconds

    async def lane() -> None:
        while asyncio.get_running_loop().time() < until:
            with suppress(ClocheError):
                await attack.again(mallory, next(numbers))
            await asyncio.sleep(0)

    lanes = [asyncio.create_task(lane()) for _ in range(attack.at_once)]
    _, late = await asyncio.wait(lanes, timeout=seconds)
    for one in late:
        one.cancel()
    await asyncio.gather(*lanes, return_exceptions=True)


def code(body: str, language: str = "javascript") -> Callable[[Any], Awaitable[object]]:
    """Deploy it as workflow `w`."""
    python = PYTHON + "".join(f"    {line}\n" for line in body.splitlines())
    javascript = f"{STEP}export default async (input) => {{ {body} }}\n"
    source = python if language == "python" else javascript
    return lambda mallory: mallory.deploy(source, workflow="w", language=language)


async def start(mallory: Any, number: int) -> object:
    return await (await mallory.start("w", number)).result()


async def leave(mallory: Any, number: int) -> object:
    """Begin a run, and do not wait for it."""
    return await mallory.start("w", number)


def graph(**parts: Any) -> str:
    made = json.loads(create_workflow(id="g").wait_for_event("paid").commit().graph.to_json())
    return json.dumps(made | parts)


def deploys(**parts: Any) -> Callable[[Any, int], Awaitable[object]]:
    """Another graph each time: with such parts, and a number."""
    return lambda mallory, number: mallory.deploy(graph(description=f"number {number}", **parts))


def deploys_map(source: str) -> Callable[[Any, int], Awaitable[object]]:
    def again(mallory: Any, number: int) -> Awaitable[object]:
        value = {"type": "function", "name": "f", "source": f"n = {number}\n{source}", "parameters": 1}
        return mallory.deploy(graph(nodes=[{"type": "map", "id": "m", "value": value}]))  # type: ignore[no-any-return]

    return again


def nested(value: Any, depth: int) -> Any:
    for _ in range(depth):
        value = {"in": value}
    return value


def with_schema(
    schema: Any, value: Any
) -> tuple[Callable[[Any, int], Awaitable[object]], Callable[[Any], Awaitable[object]]]:
    return (lambda mallory, number: mallory.start("g", value)), (
        lambda mallory: mallory.deploy(graph(input_schema=schema))
    )


_KINDS = [
    {
        "type": "object",
        "properties": {"in": {"$ref": "#/$defs/A"}, f"x{n}": {"type": "integer"}},
        "required": ["in", f"x{n}"],
    }
    for n in (1, 2)
]
_UNION: Any = {"type": "string"}
for _ in range(5):
    _UNION = {"anyOf": [_UNION] * 5}
_TWICE: Any = {"type": "string"}
for _ in range(60):
    _TWICE = {"type": ["object", "object"], "properties": {"in": _TWICE}}
_ODD = [{"type": "step", "id": f"n{n}", "step": f"known_{n}"} for n in range(5_000)]
_GROWS = "const kept = []; for (let i = 0; i < 20; i++) kept.push(new Uint8Array(1 << 20).fill(1)); "
_pattern, _with_pattern = with_schema({"type": "string", "pattern": "^(a+)+$"}, "a" * 40 + "!")
_ways, _with_ways = with_schema({"$defs": {"A": {"anyOf": _KINDS}}, "$ref": "#/$defs/A"}, nested("1", 60))


async def _history(mallory: Any) -> None:
    await code("for (let n = 0; n < 3000; n++) await step('nothing')(n); return 1;")(mallory)
    await (await mallory.start("w", 1, run_id="long")).result()


async def _replays(mallory: Any, number: int) -> None:
    await mallory.replay("long")
    await mallory.export("long")


ATTACKS = [
    Attack("spins", start, code("for (;;) {}")),
    Attack("spins in Python", start, code("while True: pass", "python")),
    Attack("touches 60 MiB in Python", start, code("kept = bytearray(b'x') * (60 << 20)\nreturn len(kept)", "python")),
    Attack("touches 60 MiB", start, code("return new Uint8Array(60 << 20).fill(1).length;")),
    Attack("commands by the thousand", start, code("for (let i = 0; i < 90_000; i++) console.log(1);")),
    Attack("steps without end", start, code("for (;;) await step('nothing')(1);"), at_once=20),
    Attack(
        "a thousand steps at once",
        start,
        code("await Promise.all([...Array(900).keys()].map((i) => step('nothing')(i)));"),
    ),
    Attack(
        "a fork bomb",
        start,
        code("await Promise.all([0, 1, 2].map((i) => cloche.child('c' + i, 'w', 1).catch(() => 0)));"),
    ),
    Attack("runs by the thousand", leave, code("return 1;"), at_once=20),
    Attack("runs that are blocked", leave, code("await step('gone')(1);"), at_once=20),
    Attack("cells that grow", leave, code(_GROWS + "await cloche.waitForEvent('w', 'go', 0);")),
    Attack(
        "events that nobody takes",
        lambda mallory, n: mallory.send_event("r", f"e{n}", "x" * 10_000),
        lambda mallory: _waits(mallory),
        at_once=20,
    ),
    Attack("values of 1 MiB", start, code("for (let n = 0; n < 9; n++) await step('nothing')('x'.repeat(900_000));")),
    Attack(
        "deploys",
        lambda mallory, n: mallory.deploy(
            f"{STEP}export default async () => {n};", workflow="w", language="javascript"
        ),
    ),
    Attack("a pattern that goes back", _pattern, _with_pattern),
    Attack("a value of many ways", _ways, _with_ways),
    Attack("types that are named twice", deploys(input_schema=_TWICE)),
    Attack("unions of unions", deploys(input_schema=_UNION)),
    Attack("a reference to itself", deploys(input_schema={"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"})),
    Attack("steps that there are not", deploys(nodes=_ODD, steps={f"known{n}": {} for n in range(5_000)})),
    Attack("nodes that are none", deploys(nodes=[{"type": "?"}] * 9_000)),
    Attack(
        "constants that are written out",
        deploys_map(f"k = [{', '.join(['1'] * 5_000)}]\nf = lambda d: {' or '.join(['d in k'] * 200)}\n"),
    ),
    Attack("a long text for Python's parser", deploys_map(f"k = [{'1,' * 400_000}]\nf = lambda d: d\nf = \n")),
    Attack("a long history again", _replays, _history),
]


async def _waits(mallory: Any) -> None:
    await code("await cloche.waitForEvent('w', 'never', 0);")(mallory)
    await mallory.start("w", 1, run_id="r")
