"""Code that measures: time, fuel, memory, chance. Under glass there is nothing to measure that is not an event."""

from __future__ import annotations

import pytest
from hostile.platform import Mode, attacked, javascript, python
from support.guests import needs_python

from cloche import Limits

SMALL = Limits(fuel_per_event=300_000_000, memory_bytes=64 << 20)
LARGE = Limits(fuel_per_event=3_000_000_000, memory_bytes=100 << 20, wall_ms_per_event=60_000)

PROBES = {
    "clock": "const a = Date.now(); for (let i = 0; i < 1e5; i++); return Date.now() - a;",
    "clock between microtasks": "const a = Date.now(); for (let i = 0; i < 999; i++) await null; return Date.now() - a;",
    "clock of a new Date": "const a = +new Date(); for (let i = 0; i < 1e5; i++); return new Date() - a;",
    "what could be a clock": "return ['performance', 'Atomics', 'SharedArrayBuffer', 'setTimeout', 'gc', 'std', 'process', "
    "'WeakRef', 'FinalizationRegistry', 'print', 'scriptArgs', 'Worker', 'WebAssembly'].filter((name) => name in globalThis);",
    "depth": "let n = 0; const deep = () => { n++; deep(); }; try { deep(); } catch {} return n;",
    "depth again": "let n = 0; const deep = () => { n++; deep(); }; for (const i of [1, 2]) try { deep(); } catch {} return n;",
    "stack of an error": "return new Error('x').stack.split('\\n').length;",
    "memory": "const all = []; for (let i = 0; i < 2000; i++) all.push('x'.repeat(1000) + i); return all.length;",
    "order of keys": "const o = {}; for (let i = 0; i < 99; i++) o['k' + i * 7 % 99] = i; return Object.keys(o).join();",
    "sort": "return Array.from({ length: 99 }, (_, i) => i * 37 % 99).sort(() => 0).join();",
    "zone": "return [new Date(0).getTimezoneOffset(), new Date(0).toString()];",
    "language": "return [(1234.5).toLocaleString(), 'ä'.localeCompare('z')];",
}  # fmt: skip
PYTHON_PROBES = {
    "clock": "import time\na = time.time(), time.monotonic(), time.perf_counter_ns(), time.process_time()\nsum(range(100000))\n"
    "return [x - y for x, y in zip((time.time(), time.monotonic(), time.perf_counter_ns(), time.process_time()), a)]",
    "date": "import datetime\na = datetime.datetime.now()\nsum(range(100000))\nreturn str(datetime.datetime.now() - a)",
    "depth": "n = 0\ndef deep():\n    nonlocal n\n    n += 1\n    deep()\n"
    "try:\n    deep()\nexcept RecursionError:\n    return n",
    "addresses": "return [id(object()), id([]), hash('text'), hash(object()), repr(object())]",
    "garbage": "import gc\nreturn [len(gc.get_objects()), gc.get_count(), gc.collect()]",
    "sizes": "import sys\nreturn [sys.getrefcount(None), sys.getsizeof([]), len(sys.modules), sys.platform]",
    "environment": "import os\nreturn [dict(os.environ), os.getcwd(), os.getpid()]",
    "sets": "return [list({'a', 'b', 'c', 'd', 'e'}), list(frozenset('hello world'))]",
}  # fmt: skip


@pytest.mark.parametrize("body", PROBES.values(), ids=PROBES)
def test_nothing_that_is_measured_depends_on_the_host(mode: Mode, body: str) -> None:
    """Not on how much there is of what is limited, nor on when and how fast it runs: what is seen is the event's time."""
    first, second = (attacked(mode, javascript(body), limits=limits) for limits in (SMALL, LARGE))
    assert (first.end, first.message) == (second.end, second.message)
    assert first.status == "success"


@pytest.mark.parametrize("body", PYTHON_PROBES.values(), ids=PYTHON_PROBES)
def test_nothing_that_python_measures_depends_on_the_host(mode: Mode, body: str) -> None:
    needs_python()
    first, second = (attacked(mode, python(body), language="python", limits=limits) for limits in (SMALL, LARGE))
    assert (first.end, first.message) == (second.end, second.message)


@pytest.mark.parametrize("probe", ["clock", "clock between microtasks", "clock of a new Date"])
def test_no_time_goes_by_within_an_event(mode: Mode, probe: str) -> None:
    assert attacked(mode, javascript(PROBES[probe])).end == ("success", "0")


def test_chance_is_that_of_the_run_and_of_no_other(mode: Mode) -> None:
    body = "return [Math.random(), crypto.randomUUID(), ...crypto.getRandomValues(new Uint8Array(4))].join();"
    first, second = (attacked(mode, javascript(body)) for _ in range(2))
    assert first.status == second.status == "success"
    assert first.name != second.name
