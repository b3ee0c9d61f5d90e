"""Workflows and histories to measure with: written as guest code, so that any length is one small source."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import cloche_guest
from cloche.engines import Code, Language
from cloche.history import CallId, Path, Record, RunId, RunKey, RunMachine, TenantId, TimeMs
from cloche.history.messages import Started, StepCompleted, StepSuspended, TimerFired
from cloche.history.notes import AttemptStarted, RunCreated
from cloche.sandbox import BaseImage, Cell, Image, Limits, base_image, load_image

_USE_STEP = 'const step = globalThis[Symbol.for("WORKFLOW_USE_STEP")];\n'
SEQUENTIAL = _USE_STEP + (
    "export default async function (n) { let x = 0; for (let i = 0; i < n; i++) x = await step('inc')(x); return x; }"
)
PARALLEL = _USE_STEP + (
    "export default async function (n) {\n"
    "  const all = await Promise.all(Array.from({ length: n }, (_, i) => step('inc')(i)));\n"
    "  return all.length;\n}"
)
MIXED = _USE_STEP + (
    "export default async function (n) {\n"
    "  for (let i = 0; i < n; i += 10) {\n"
    "    await step('inc')(i);\n"
    "    await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map((k) => step('inc')(k)));\n"
    "    await cloche.sleep('nap[' + i + ']', 1000);\n"
    "  }\n}"
)
SMALL = _USE_STEP + (
    "export default async function (input) {\n"
    "  const a = await step('double')(input);\n  return await step('add-ten')(a);\n}"
)
BUSY = (
    "export default async function (n) { let x = 1; for (let i = 0; i < n; i++) x = (x * 31 + i) % 65521; return x; }"
)
PY_SEQUENTIAL = (
    "from cloche import workflow, step\n\n@workflow\nasync def run(n):\n    x = 0\n    for _ in range(n):\n"
    "        x = await step('inc')(x)\n    return x\n"
)
PY_PARALLEL = (
    "from cloche import workflow, step, gather\n\n@workflow\nasync def run(n):\n"
    "    return len(await gather(*(step('inc')(i) for i in range(n))))\n"
)
KEY = RunKey(TenantId("default"), RunId("bench"))
LIMITS = Limits()
NOW = TimeMs(1_760_000_000_000)
ENDLESS = 1_000_000_000  # steps of a run that is looked at on its way


@cache
def base(language: Language = "javascript") -> BaseImage:
    guest = cloche_guest.ensure_guest(language)
    return base_image(guest.digest, guest.wasm)


def has_python() -> bool:
    return cloche_guest.find_guest("python") is not None


def image(source: str, language: Language = "javascript") -> Image:
    return load_image(base(language), source, LIMITS)


def cell(source: str, language: Language = "javascript") -> Cell:
    return Cell(image(source, language), LIMITS)


def started(value: object) -> Started:
    return Started(NOW, bytes(16), value, {})


def completed(call: int, value: object) -> StepCompleted:
    return StepCompleted(TimeMs(NOW + call), CallId(call), value)


def suspended(call: int, path: str) -> StepSuspended:
    return StepSuspended(NOW, CallId(call), Path(path))


def events(count: int) -> list[bytes]:
    """The events of `count` steps, packed, their answers in the order of the calls: those of any shape without timers."""
    return [started(count).pack(), *(completed(call, call).pack() for call in range(1, count + 1))]


def mixed_events(count: int) -> list[bytes]:
    """Those of `MIXED`: of ten calls, the last is a timer."""
    packed = [started(count).pack()]
    for call in range(1, count + 1):
        fired = call % 10 == 0
        at = TimeMs(NOW + 1000 * call)
        packed.append(TimerFired(at, CallId(call)).pack() if fired else completed(call, call).pack())
    return packed


def sequential_code(digest: str) -> Code:
    """What the synthesised runs are pinned to."""
    return Code("bench", digest, SEQUENTIAL, {}, "")


def synthesised(count: int, digest: str) -> Iterator[list[Record]]:
    """The records of a sequential run that has done `count` steps and waits for the next, turn by turn.

    The commands are those that a cell gives when it is given all events.
    """
    machine = RunMachine(KEY)
    cell_ = cell(SEQUENTIAL)
    for number in range(count + 1):
        event = completed(number, number) if number else started(ENDLESS)
        note = _attempt(number) if number else _created(digest)
        yield machine.accept([note, event], cell_.turn([event.pack()]), NOW).records


def _attempt(call: int) -> AttemptStarted:
    return AttemptStarted(NOW, CallId(call), 1)


def _created(digest: str) -> RunCreated:
    return RunCreated(NOW, "bench", digest, limits=LIMITS.to_data())
