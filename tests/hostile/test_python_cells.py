"""Hostile Python under glass: each ends in a typed error or in a failure of the run, and the host works on."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from textwrap import indent
from typing import Any

import pytest
from guest.cells import SEED, pack, sequence

import cloche_guest
from cloche.errors import FuelExhausted, GuestTrapped, MemoryExhausted, OutputTooLarge, StackExhausted
from cloche.sandbox import BaseImage, Cell, Limits, base_image, load_image

LIMITS = Limits(fuel_per_event=1_000_000_000, wall_ms_per_event=120_000)
START = pack([0, 1_700_000_000_000, SEED, None, {}])
COMPLETE, FAIL = 7, 8


@cache
def base() -> BaseImage:
    guest = cloche_guest.find_guest("python")
    if guest is None:
        pytest.skip("the Python guest is not built: make guest-python")
    return base_image(guest.digest, guest.wasm)


def outputs(body: str) -> list[Any]:
    """What a workflow with this body asks for at its start."""
    source = f"from cloche import *\n@workflow\nasync def main(input):\n{indent(body, '    ')}\n"
    return sequence(Cell(load_image(base(), source, LIMITS), LIMITS).turn([START]))


def start(body: str) -> list[Any]:
    """The last command of a workflow with this body."""
    last: list[Any] = [c for c in outputs(body) if c is not None][-1]
    return last


@pytest.fixture(autouse=True)
def _the_host_is_healthy_afterwards() -> Any:
    base()
    yield
    assert start("return 1") == [COMPLETE, 1]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("while True: pass", id="endless loop"),
        pytest.param("10**10**8", id="power"),
        pytest.param("import math\nmath.factorial(10**7)", id="factorial"),
        pytest.param("import re\nre.match(r'(a+)+$', 'a' * 64 + 'b')", id="regex bomb"),
        pytest.param(
            "while True:\n  try:\n    while True: pass\n  except BaseException: pass", id="catches everything"
        ),
        pytest.param("def f():\n  try: f()\n  except BaseException: f()\nf()", id="recursion that catches everything"),
        pytest.param(
            "x = []\nwhile True:\n  try: x.append('a' * 100000)\n  except BaseException: pass", id="catches MemoryError"
        ),
        pytest.param(
            "class K:\n  def __init__(s, i): s.i = i\n  def __hash__(s): return 1\n  def __eq__(s, o): return s.i == o.i\n"
            "d = {K(i): i for i in range(20000)}",
            id="hash collisions of a class",
        ),
        pytest.param("d = {i * (2**61 - 1): i for i in range(10**7)}", id="hash collisions of integers"),
        pytest.param(
            "import gc\ngc.set_threshold(1)\nx = []\nfor i in range(10**6): x.append([i])", id="garbage collections"
        ),
        pytest.param(
            "class E(Exception):\n  def __str__(self):\n    while True: pass\nraise E()", id="text of an error"
        ),
        pytest.param(
            "class D(dict):\n  def items(self):\n    while True: yield 'a', 1\nreturn D()", id="endless mapping"
        ),
        pytest.param("import decimal\ndecimal.getcontext().prec = 10**8\ndecimal.Decimal(2) ** (10**8)", id="decimal"),
        pytest.param("l = []\nwhile True: l.append(gather(*l))", id="gathers of gathers"),
        pytest.param("import zlib\nd = zlib.compress(b'0' * (1 << 24))\nwhile True: zlib.decompress(d)", id="zip bomb"),
    ],
)
def test_what_computes_for_ever_is_stopped_by_fuel(body: str) -> None:
    with pytest.raises(FuelExhausted):
        start(body)


@pytest.mark.parametrize(
    "body",
    [
        "x = []\nwhile True: x.append('a' * 1_000_000)",
        "bytearray(1 << 30)",
        "'{:1000000000}'.format(1)",
        "'%1000000000d' % 1",
    ],
)
def test_what_wants_too_much_memory_is_stopped(body: str) -> None:
    with pytest.raises(MemoryExhausted):
        start(body)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("import json\njson.loads('[' * 100000)", id="json"),
        pytest.param("eval('+'.join(['1'] * 20000))", id="compiler"),
        pytest.param("x = []\nfor i in range(100000): x = [x]\nrepr(x)", id="repr"),
        pytest.param("a = []; b = []\nfor i in range(100000): a = [a]; b = [b]\nreturn a == b", id="comparison"),
        pytest.param("a = ()\nfor i in range(100000): a = (a,)\nreturn hash(a)", id="hash"),
        pytest.param("i = iter([1])\nfor _ in range(50000): i = map(int, i)\nlist(i)", id="iterators"),
        pytest.param("def f(): return f()\nf()", id="calls"),
        pytest.param("class A:\n  def __repr__(self): return repr([self])\nrepr(A())", id="a repr of its own"),
        pytest.param("def g():\n  yield from g()\nnext(g())", id="generators"),
        pytest.param("import re\nre.compile('(' * 5000 + ')' * 5000)", id="regex"),
        pytest.param("import copy\nx = []\nfor i in range(100000): x = [x]\ncopy.deepcopy(x)", id="deepcopy"),
    ],
)
def test_nesting_ends_in_a_recursion_error_or_the_stack(body: str) -> None:
    """Where CPython counts, its error; where C calls itself, the native stack: never a recorded result."""
    with suppress(StackExhausted, MemoryExhausted):
        assert start(body)[1]["name"] == "RecursionError"


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("'a' * 2**40", "OverflowError"),
        ("return ','.join(['a' * 1000000] * 3000)", "OverflowError"),
        ("return str(10**100000)", "ValueError"),
        ("import sys\nsys.exit(3)", "SystemExit"),
        ("import _ctypes", "ModuleNotFoundError"),
        ("import faulthandler\nfaulthandler.dump_traceback()", "OutsideError"),
        ("import sys\nsys.setrecursionlimit(10**9)", "OutsideError"),
        ("import pickle\npickle.loads(b'cposix\\n_exit\\n(I1\\ntR.')", "OutsideError"),
        ("import queue\nqueue.Queue().get()", "OutsideError"),
        ("import threading\nthreading.Event().wait()", "OutsideError"),
        ("import _thread\n_thread.start_new_thread(print, ())", "RuntimeError"),
        ("class E(Exception):\n  def __str__(self): raise self\nraise E()", "E"),
        ("class E(Exception): pass\ne = E('x'); e.data = e; raise e", "E"),
        ("x = None\nfor i in range(10000):\n  y = ValueError(); y.__cause__ = x; x = y\nraise x", "ValueError"),
        ("import _world.values as v\nv.convert.__code__ = (lambda value: 5).__code__\nreturn object()", "TypeError"),
        (
            "import _world.values as v\nv.convert.__code__ = (lambda value: (0, value)).__code__\nreturn object()",
            "TypeError",
        ),
        (
            "import _world.values as v\nv.convert.__code__ = (lambda value: ('a', 'b')).__code__\nreturn object()",
            "TypeError",
        ),
        ("f = lambda: 0\nf.__code__ = f.__code__.replace(co_code=bytes([220, 255] * 200))\nf()", "SystemError"),
    ],
)
def test_what_python_refuses_is_a_failure_of_the_run(body: str, name: str) -> None:
    kind, failure = start(body)

    assert (kind, failure["name"]) == (FAIL, name)


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ("class A:\n  def __del__(self): A.x = self; A()\nA()\nreturn 1", 1),
        ("class A:\n  def __del__(self): kept.append(self)\nkept = []\nA()\nA()\nkept.clear()\nreturn len(kept)", 0),
        ("def g():\n  try: yield\n  finally: yield\nfor i in range(10): next(g())\nreturn 1", 1),
        ("import sys\nsys.unraisablehook = lambda *a: 1/0\nclass A:\n  def __del__(self): 1/0\nA()\nreturn 1", 1),
        ("import cloche._loop as loop\nloop.deliver = loop.load = None\nreturn 1", 1),
    ],
)
def test_tricks_that_hurt_nobody_else(body: str, result: Any) -> None:
    assert start(body) == [COMPLETE, result]


@pytest.mark.parametrize(
    "body",
    [
        "import _io\n_io.FileIO(1, 'w').write(b'x')",
        "import threading\nlock = threading.Lock(); lock.acquire(); lock.acquire()",
    ],
)
def test_what_breaks_the_guest_itself_traps(body: str) -> None:
    with pytest.raises(GuestTrapped):
        start(body)


@pytest.mark.parametrize(
    ("body", "commands"),
    [
        ("import cloche._loop as loop\nloop.put = loop.finish = None\nreturn 1", []),
        ("import sys\nsys._getframe(0).f_back.f_globals.clear()\nawait step('a')(1)", [[0, 1, "a", "a", [1]]]),
        ("import builtins\nvars(builtins).clear()\nreturn 1", [[COMPLETE, 1]]),
    ],
)
def test_who_takes_the_prelude_away_harms_its_own_run_alone(body: str, commands: list[Any]) -> None:
    assert outputs(body) == [*commands, None]


def test_endless_printing_ends() -> None:
    with pytest.raises((FuelExhausted, OutputTooLarge, MemoryExhausted)):
        start("while True: print('x' * 1000)")


def test_code_that_never_ends_loading_is_stopped() -> None:
    with pytest.raises(FuelExhausted):
        load_image(base(), "while True: pass", LIMITS)
