"""Python that means harm, or is only wrong: its run ends with an error that says so, and everything else goes on."""

from __future__ import annotations

import pytest
from hostile.platform import Mode, attacked, python
from support.guests import needs_python

from cloche import Limits

CANNOT = ", which cannot cross; what can: text, numbers, bytes, dates, lists, mappings, models"


@pytest.fixture(autouse=True)
def _guest() -> None:
    needs_python()


def lived(mode: Mode, body: str, limits: Limits | None = None, head: str = "") -> tuple[str, str, str]:
    """How a run of `body` ended beside the neighbour's: "success" and its result, or "failed", the name and the message."""
    outcome = attacked(mode, python(body, head), language="python", limits=limits)
    return *outcome.end, outcome.message


RESTING = {
    "FuelExhausted": "longer than one event may take",
    "MemoryExhausted": "asked for more memory than its limit",
    "OutputTooLarge": "",
    "StackExhausted": "nested deeper than the stack",
    "MalformedOutput": "",
    "GuestTrapped": "the guest's own code broke",
}


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("while True: pass", "FuelExhausted"),
        ("await step('echo')(1)\nwhile True: pass", "FuelExhausted"),
        ("try:\n    while True: pass\nfinally:\n    return 1", "FuelExhausted"),
        ("while True:\n    try:\n        while True: pass\n    except BaseException: pass", "FuelExhausted"),
        ("return 10**10**8", "FuelExhausted"),
        ("import re\nreturn re.match(r'(a+)+$', 'a' * 60 + '!')", "FuelExhausted"),
        ("import itertools\nreturn sum(1 for _ in itertools.count())", "FuelExhausted"),
        ("return sum(range(10**12))", "FuelExhausted"),
        ("class Odd:\n    def __del__(self):\n        while True: pass\nOdd()", "FuelExhausted"),
        ("class P:\n    def __iter__(self):\n        while True: yield 1\nreturn list(P())", "MemoryExhausted"),
        ("return 'a' * 2**27", "MemoryExhausted"),
        ("x = []\nwhile True: x.append('x' * 1000000 + str(len(x)))", "MemoryExhausted"),
        ("return [0] * 10**9", "MemoryExhausted"),
        ("return ('%' + '9' * 9 + 'd') % 1", "MemoryExhausted"),
        ("exec('x = ' + '[' * 100000)", "MemoryExhausted"),
        ("return 'x' * (7 << 20)", "OutputTooLarge"),
        ("await gather(*[step('echo')(1) for _ in range(100_001)])", "OutputTooLarge"),
        (
            "try:\n    await gather(*[step('s')() for _ in range(100_001)])\nexcept BaseException: return 1",
            "OutputTooLarge",
        ),
        ("import json\nreturn json.loads('[' * 100000 + ']' * 100000)", "StackExhausted"),
        ("return eval('+'.join(['1'] * 20000))", "StackExhausted"),
        ("import _cloche\n_cloche.put((7, 'forged'))\nawait step('echo')(1)", "MalformedOutput"),
        (
            "import _cloche\n_cloche.put((0, 1, 'p', 'echo', []))\nawait step('echo')(1)",
            "MalformedOutput",
        ),
        ("import _cloche\n_cloche.put('junk')", "MalformedOutput"),
        ("import sys\nsys._getframe().f_back.f_globals['put'](5)", "MalformedOutput"),
        ("import _cloche\ntry:\n    _cloche.fault(-2)\nexcept BaseException: return 1", "OutputTooLarge"),
    ],
)
def test_what_asks_for_too_much_is_stopped(mode: Mode, body: str, name: str) -> None:
    status, error, message = lived(mode, body, Limits(fuel_per_event=5_000_000_000, memory_bytes=120 << 20))
    assert (status, error) == ("failed", name)
    assert RESTING[name] in message


@pytest.mark.parametrize(
    ("body", "name", "message"),
    [
        ("return 'a' * 2**40", "OverflowError", "index-sized"),
        ("def deep(n): return 1 + deep(n + 1)\nreturn deep(0)", "RecursionError", "maximum recursion depth"),
        ("import ctypes\nctypes.CDLL(None)", "OutsideError", "ctypes.CDLL is outside of a workflow"),
        ("import socket\nsocket.socket()", "OutsideError", "socket.socket is outside of a workflow: make it a step"),
        ("import asyncio\nawait asyncio.to_thread(print)", "OutsideError", "asyncio.to_thread is outside"),
        ("import threading\nthreading.Thread(target=print).start()", "OutsideError", "make it a step"),
        ("return open('/etc/passwd').read()", "OutsideError", "open is outside of a workflow: make it a step"),
        ("import os\nos._exit(1)", "OutsideError", "os._exit is outside"),
        ("import time\ntime.sleep(1)", "OutsideError", "time.sleep is outside"),
        ("import sys\nsys.setrecursionlimit(10**9)", "OutsideError", "setrecursionlimit above 10,000 is outside"),
        ("import sys\nsys.exit(3)", "SystemExit", "3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", ""),
        ("raise GeneratorExit", "GeneratorExit", ""),
        ("raise StopIteration(5)", "RuntimeError", "StopIteration"),
        ("raise BaseExceptionGroup('g', [ValueError('a'), SystemExit()])", "BaseExceptionGroup", "2 sub-exceptions"),
        ("e = ValueError('a'); e.__cause__ = e; raise e", "ValueError", "a"),
        ("class E(Exception):\n    def __str__(self): raise ValueError\nraise E()", "E", "cannot be shown"),
        ("import builtins\nfor name in list(vars(builtins)): delattr(builtins, name)", "NameError", "delattr"),
        ("def make():\n    yield from made\nmade = make()\nreturn list(made)", "ValueError", "already executing"),
        ("async def other():\n    await both\nboth = gather(other())\nawait both", "Deadlock", "nothing outside"),
        ("await type(step('echo')()).__mro__[3]()", "Deadlock", "nothing outside will ever answer"),
        ("import types\n@types.coroutine\ndef odd():\n    yield 5\nawait odd()", "TypeError", "int cannot be awaited"),
        ("import cloche._loop as loop\nloop.put = loop.finish = None", "Deadlock", "nothing outside will ever answer"),
        ("return print", "TypeError", f"result is a function{CANNOT}"),
        ("await step('echo')({'a': [print]})", "TypeError", f"arguments[0].a[0] is a function{CANNOT}"),
        ("a = []; a.append(a); return a", "TypeError", "result[0] is a cycle"),
        ("return {1: 2}", "TypeError", "only text keys can cross"),
        ("class T(dict):\n    def items(self): raise ValueError('t')\nreturn T(a=1)", "ValueError", "t"),
        (
            "class T(dict):\n    def items(self): raise ValueError('t')\nawait gather(step('echo')(T(a=1)))",
            "ValueError",
            "t",
        ),
        ("await cloche.step('echo', 5)(1)", "TypeError", "the path of a call is no text"),
        ("return int('9' * 5000)", "ValueError", "4300 digits"),
    ],
)
def test_a_run_ends_with_what_its_code_did(mode: Mode, body: str, name: str, message: str) -> None:
    status, error, text = lived(mode, body)
    assert (status, error) == ("failed", name)
    assert message in text


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ("class Odd:\n    def __del__(self):\n        global kept\n        kept = self\nOdd()\nawait step('echo')(1)\n"
         "return type(kept).__name__", "Odd"),
        ("import sys\nsys.modules.clear()\nreturn await step('echo')(1)", "1"),
        ("import gc\ngc.collect()\ngc.disable()\nreturn len(gc.get_objects()) > 0", "True"),
        ("class Same:\n    def __hash__(self): return 1\nreturn len({Same() for _ in range(200)})", "200"),
        ("import _cloche\n_cloche.open_calls.clear()\nreturn 1", "1"),
        ("import cloche._loop as loop\nloop.encoded = lambda *a: 5\nawait cloche.sleep(0)", "5"),
        ("try:\n    x = 'a' * 2**28\nexcept MemoryError:\n    return 'survived'", "survived"),
    ],
)  # fmt: skip
def test_tricks_that_harm_nobody_are_replayed_alike(mode: Mode, body: str, result: str) -> None:
    assert lived(mode, body)[:2] == ("success", result)


@pytest.mark.parametrize("source", ["while True: pass", "x = []\nwhile True: x.append('x' * 1000000 + str(len(x)))"])
def test_code_that_does_harm_while_it_loads_ends_its_run(mode: Mode, source: str) -> None:
    status, name, message = lived(mode, "return 1", head=source)
    assert (status, name) in [("failed", "FuelExhausted"), ("failed", "MemoryExhausted")]
    assert "while its code was loaded" in message


def test_wall_time_is_a_limit_of_its_own(mode: Mode) -> None:
    endless = Limits(fuel_per_event=1 << 60, wall_ms_per_event=100, memory_bytes=120 << 20)
    status, name, message = lived(mode, "if input == 1:\n    while True: pass", endless)
    assert (status, name) == ("failed", "TimeExhausted")
    assert "longer than the wall time of one event" in message
