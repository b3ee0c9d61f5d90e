"""Workflows and histories to measure with: written as guest code, so that any length is one small source."""

from __future__ import annotations

import cloche_guest
from cloche.engines import Code
from cloche.history import CallId, Kind, Note, RunId, RunKey, RunMachine, TenantId, TimeMs
from cloche.history.machine import Fact
from cloche.history.messages import Started, StepCompleted
from cloche.sandbox import BaseImage, Cell, Image, Limits, base_image, load_image

USE_STEP = 'const step = globalThis[Symbol.for("WORKFLOW_USE_STEP")];\n'
SEQUENTIAL = USE_STEP + (
    "export default async function (n) { let x = 0; for (let i = 0; i < n; i++) x = await step('inc')(x); return x; }"
)
PARALLEL = USE_STEP + (
    "export default async function (n) {\n"
    "  const all = await Promise.all(Array.from({ length: n }, (_, i) => step('inc')(i)));\n"
    "  return all.length;\n}"
)
SMALL = USE_STEP + (
    "export default async function (input) {\n"
    "  const a = await step('double')(input);\n  return await step('add-ten')(a);\n}"
)
KEY = RunKey(TenantId("default"), RunId("bench"))
LIMITS = Limits()
NOW = TimeMs(1_760_000_000_000)


def base() -> BaseImage:
    guest = cloche_guest.ensure_guest("javascript")
    return base_image(guest.digest, guest.wasm)


def image(source: str) -> Image:
    return load_image(base(), source, LIMITS)


def started(value: object) -> Started:
    return Started(NOW, bytes(16), value, {})


def completed(call: int, value: object) -> StepCompleted:
    return StepCompleted(TimeMs(NOW + call), CallId(call), value)


def events(count: int) -> list[bytes]:
    """The events of `count` steps, packed: equal for both shapes, since the answers come in the order of the calls."""
    return [started(count).pack(), *(completed(call, call).pack() for call in range(1, count + 1))]


def created(code: Code, digest: str) -> Note:
    return Note(Kind.RUN_CREATED, NOW, {"workflow": code.workflow, "guest": code.guest, "limits": LIMITS.to_data()})


def machine_batches(source: str, count: int) -> list[tuple[RunMachine, list[Fact], bytes]]:
    """The turns of a sequential run: facts and the output they led to."""
    cell = Cell(image(source), LIMITS)
    machine = RunMachine(KEY)
    turns: list[tuple[RunMachine, list[Fact], bytes]] = []
    for number in range(count + 1):
        attempt = Note(Kind.ATTEMPT_STARTED, NOW, {"attempt": 1}, CallId(number))
        facts: list[Fact] = [started(count)] if number == 0 else [attempt, completed(number, number)]
        turns.append((machine, facts, cell.turn([fact.pack() for fact in facts if not isinstance(fact, Note)])))
    return turns
