"""Workflow code that means harm, or is only wrong: its run ends with an error that says so, and everything else goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.apps import in_loop

from cloche import Cloche, Limits, Workflow, create_step, create_workflow
from cloche.engines import Cell, Code, SandboxEngine

LIMITS = Limits(fuel_per_event=60_000_000, memory_bytes=32 << 20)
STEP = 'const step = globalThis[Symbol.for("WORKFLOW_USE_STEP")];'
echo = create_step(id="echo", execute=lambda data: data)
plain: Workflow = create_workflow(id="w").then(echo).commit()


class Source(SandboxEngine):
    """An engine whose workflows consist of `body`, whatever their graphs say; those named "good" are left alone."""

    def __init__(self, body: str, limits: Limits = LIMITS) -> None:
        super().__init__(limits)
        self._body = body

    def open(self, code: Code, guest: Callable[[], bytes], limits: dict[str, Any]) -> Cell:
        source = f"{STEP}\nexport default async function workflow(input) {{ {self._body} }}\n"
        return super().open(code if code.workflow == "good" else replace(code, source=source), guest, limits)


def lived(body: str, limits: Limits = LIMITS) -> tuple[str, str, str]:
    """Status, and the name and message of the failure, of a run of `body`; a good run beside it must not notice."""
    answer: list[tuple[str, str, str]] = []

    @in_loop
    async def live() -> None:
        good = create_workflow(id="good").then(echo).then(echo, id="again").commit()
        async with Cloche(workflows=[plain, good], engine=Source(body, limits)) as app:
            before = await app.start("good", 1)
            run = await app.start("w", 1)
            after = await app.start("good", 2)
            assert [(await one.result()).result for one in (before, after)] == [1, 2]
            result = await run.result()
            assert (await app.verify()).ok
            assert (await app.replay(run.id)).ok
            assert result.error is not None
            answer.append((result.status, result.error.name, result.error.message))

    live()
    return answer[0]


@pytest.mark.parametrize(
    ("body", "name", "message"),
    [
        ("for (;;) {}", "FuelExhausted", "longer than one event may take: is there an endless loop"),
        ("await step('echo')(1); for (;;) {}", "FuelExhausted", "is there an endless loop"),
        ("try { for (;;) {} } finally { return 1; }", "FuelExhausted", "is there an endless loop"),
        ("const spin = () => Promise.resolve().then(spin); await spin();", "FuelExhausted", "is there an endless loop"),
        ("/(a+)+$/.test('a'.repeat(60) + '!');", "FuelExhausted", "is there an endless loop"),
        ("const deep = (n) => 1 + deep(n + 1); return deep(0);", "RangeError", "call stack"),
        ("return new Promise(() => {});", "Deadlock", "nothing outside will ever answer"),
        ("await step('echo')(1); await new Promise(() => {});", "Deadlock", "nothing outside will ever answer"),
        ("return { items: [{ cb: () => 1 }] };", "TypeError", "result.items[0].cb is a function"),
        ("return () => 1;", "TypeError", "result is a function"),
        ("await step('echo')(() => 1);", "TypeError", "arguments[0] is a function"),
        ("await step('echo')({ m: new Map() });", "TypeError", "arguments[0].m is a Map"),
        ("const a = []; a.push(a); return a;", "TypeError", "result[0]"),
        ("throw 42;", "Error", "42"),
        ("throw null;", "Error", "null"),
        ("throw { toString() { throw 1; } };", "Error", ""),
        ("return Promise.reject(undefined);", "Error", "undefined"),
        ("throw Object.assign(new Error('no'), { name: 'Refused' });", "Refused", "no"),
    ],
)
def test_a_run_ends_with_what_its_code_did(body: str, name: str, message: str) -> None:
    status, error, text = lived(body)
    assert (status, error) == ("failed", name)
    assert message.lower() in text.lower()


@pytest.mark.parametrize(
    ("body", "name", "message"),
    [
        ("const all = []; for (;;) all.push('x'.repeat(1 << 20) + all.length);", "MemoryExhausted", "more memory"),
        ("const all = []; for (;;) all.push({ all: [all.length] });", "MemoryExhausted", "more memory"),
        ("let all = 'x'; for (;;) all += all;", "InternalError", "string too long"),
        ("return new Uint8Array(1 << 30);", "MemoryExhausted", "more memory"),
        ("return 'x'.repeat(7 << 20);", "OutputTooLarge", "6 MiB"),
        ("for (let i = 0; i < 100001; i++) console.log(i);", "OutputTooLarge", "100,000"),
        ("for (;;) console.log('x'.repeat(10000));", "OutputTooLarge", "6 MiB"),
    ],
)
def test_a_run_that_asks_for_too_much_ends(body: str, name: str, message: str) -> None:
    status, error, text = lived(body, Limits(memory_bytes=64 << 20))
    assert (status, error) == ("failed", name)
    assert message in text


def test_wall_time_is_a_limit_of_its_own() -> None:
    """For what burns time and hardly any fuel. It depends on the machine, so it is tried three times first."""
    endless = Limits(fuel_per_event=1 << 60, wall_ms_per_event=30, memory_bytes=32 << 20)
    status, name, message = lived("if (input === 1) for (;;) {}", endless)
    assert (status, name) == ("failed", "TimeExhausted")
    assert "longer than the wall time of one event" in message


@pytest.mark.parametrize("source", ["for (;;) {}", "const all = []; for (;;) all.push(new Array(100000).fill(1));"])
def test_code_that_does_harm_while_it_loads_ends_its_run(source: str) -> None:
    status, name, message = lived("}" + source + "{")
    assert (status, name) in [("failed", "FuelExhausted"), ("failed", "MemoryExhausted")]
    assert "while its code was loaded" in message


def test_a_memory_limit_below_the_guest_s_own_memory_ends_the_run() -> None:
    @in_loop
    async def live() -> None:
        async with Cloche(workflows=[plain], engine=SandboxEngine(Limits(memory_bytes=1 << 20))) as app:
            result = await (await app.start("w", 1)).result()
            assert result.error is not None
            assert (result.status, result.error.name) == ("failed", "MemoryExhausted")

    live()


def test_a_step_that_nobody_has_blocks_and_does_not_fail() -> None:
    @in_loop
    async def live() -> None:
        async with Cloche(workflows=[plain], engine=Source("await step('nobody')(1);")) as app:
            result = await (await app.start("w", 1)).result()
            assert (result.status, result.blocked and result.blocked["reason"]) == ("blocked", "missing-step")

    live()
