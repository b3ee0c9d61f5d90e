"""What Python code sees of the world: the event's time, the run's chance, nothing of the outside."""

from __future__ import annotations

from typing import Any

import pytest
from guest.cells import LOG, NOW, GuestStopped
from guest_python.python_cells import HEAD, lines, outcome, python_cell, workflow


def test_time_is_that_of_the_event() -> None:
    body = "import datetime, time\nreturn [time.time(), time.time_ns(), time.monotonic(), datetime.datetime.now(), time.tzname]"

    assert outcome(body) == [NOW / 1000, NOW * 10**6, NOW / 1000, "2023-11-14T22:13:20", ["UTC", "UTC"]]


def test_chance_comes_from_the_seed_of_the_run() -> None:
    source = workflow(
        "import os, random, secrets, uuid\n"
        "return [random.random(), str(uuid.uuid4()), secrets.token_hex(8), os.urandom(9), random.Random().random(),"
        " random.SystemRandom().random()]"
    )
    first, second, other = (python_cell(source).start(seed=seed) for seed in (b"a" * 16, b"a" * 16, b"b" * 16))

    assert first == second
    assert all(a != b for a, b in zip(first[0][1], other[0][1], strict=True))


@pytest.mark.parametrize(
    "use", ["import os; os.urandom(1)", "import uuid; uuid.uuid4()", "import secrets; secrets.token_hex()"]
)
def test_there_is_no_randomness_before_the_run_starts(use: str) -> None:
    with pytest.raises(GuestStopped) as stopped:
        python_cell(f"{HEAD}{use}")

    assert stopped.value.failure["message"].startswith("there is no randomness before the run starts")


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("open('/etc/passwd')", "builtins.open"),
        ("import io; io.open('/etc/passwd')", "io.open"),
        (
            "input = __builtins__['input'] if isinstance(__builtins__, dict) else __builtins__.input; input()",
            "builtins.input",
        ),
        ("import time; time.sleep(1)", "time.sleep"),
        ("import time; time.process_time()", "time.process_time"),
        ("import os; os.listdir('/')", "os.listdir"),
        ("import os; os.open('/', 0)", "os.open"),
        ("import os; os._exit(1)", "os._exit"),
        ("import os; os.abort()", "os.abort"),
        ("import posix; posix.stat('/')", "posix.stat"),
        ("import pathlib; pathlib.Path('/x').read_text()", "io.open"),
        ("import threading; threading.Thread(target=print).start()", "threading._start_joinable_thread"),
        ("import sys; sys.setrecursionlimit(10**6)", "sys.setrecursionlimit above 10,000"),
    ],
)
def test_the_outside_says_make_it_a_step(body: str, name: str) -> None:
    assert outcome(body) == ("OutsideError", f"{name} is outside of a workflow: make it a step")


@pytest.mark.parametrize(
    "module",
    ["_socket", "_ctypes", "_posixsubprocess", "_multiprocessing", "fcntl", "readline", "pwd"],
)
def test_what_is_not_there_at_all_says_make_it_a_step(module: str) -> None:
    why = f"{module} is outside of a workflow: make what needs it a step"

    assert outcome(f"import {module}") == ("ModuleNotFoundError", why)


def test_an_unknown_module_says_what_can_be_imported() -> None:
    name, why = outcome("import numpy")

    assert name == "ModuleNotFoundError"
    assert "bake the package into the guest" in why


def test_the_environment_is_empty() -> None:
    body = "import os, sys\nreturn [dict(os.environ), os.getcwd(), os.path.exists('/'), sys.argv, sys.path, os.getenv('HOME')]"

    assert outcome(body) == [{}, "/", False, [""], [], None]


def test_nothing_of_the_build_is_left() -> None:
    assert outcome("import sys\nreturn [m for m in sys.modules if 'component' in m or m in ('app', 'wit_world')]") == []
    assert outcome("import sys; return sys.modules['__main__'].__dict__.keys() - {'__builtins__'}") == [
        "__doc__",
        "__name__",
        "__spec__",
        "__loader__",
        "__package__",
    ]


def test_print_and_logging_are_log_lines() -> None:
    body = (
        "import logging, sys\nprint('a', 1)\nprint('b', end='')\nprint('c\\nd')\nprint('e', file=sys.stderr)\n"
        "logging.info('x %d', 3)\nlogging.getLogger('shop').warning('low')\nlogging.debug('y')"
    )

    assert lines(body) == [(2, "a 1"), (2, "bc"), (2, "d"), (4, "e"), (2, "x 3"), (3, "shop: low"), (1, "y")]


def test_print_says_nothing_while_the_code_is_loaded() -> None:
    commands = python_cell(workflow("print('run')", head="print('load')")).start()

    assert [c for c in commands if c[0] == LOG] == [[LOG, 2, "run"]]


def test_time_zones_have_their_data() -> None:
    body = (
        "from zoneinfo import ZoneInfo, available_timezones\nfrom datetime import datetime\n"
        "at = datetime(2026, 7, 1, 12, tzinfo=ZoneInfo('Europe/Berlin'))\n"
        "return [at.isoformat(), at.astimezone(ZoneInfo('America/New_York')).isoformat(), len(available_timezones()) > 500]"
    )

    assert outcome(body) == ["2026-07-01T12:00:00+02:00", "2026-07-01T06:00:00-04:00", True]
    assert outcome("from zoneinfo import ZoneInfo\nZoneInfo('No/Where')")[0] == "ZoneInfoNotFoundError"


INSIDE = """abc base64 bisect calendar collections colorsys configparser contextlib contextvars copy csv dataclasses datetime
decimal difflib enum fnmatch fractions functools graphlib hashlib heapq hmac html inspect itertools json keyword logging math
numbers operator pathlib pprint queue random re secrets shlex statistics string struct textwrap tomllib traceback types typing
unicodedata urllib.parse uuid warnings weakref xml.etree.ElementTree zlib zoneinfo"""


def test_the_pure_parts_of_the_standard_library_are_inside() -> None:
    body = f"from importlib import import_module\nfor name in {INSIDE!r}.split(): import_module(name)\nreturn 'all'"

    assert outcome(body) == "all"


OF_ITSELF = [  # each of these reaches for a private name of `sys` or `os`, or for a module, which the author never sees
    ("from collections import namedtuple\nreturn str(namedtuple('P', 'x y')(1, 2))", "P(x=1, y=2)"),
    ("from enum import Enum\nreturn str(Enum('C', 'A B').A)", "C.A"),
    ("from enum import IntFlag\nC = IntFlag('C', 'A B')\nreturn C.A | C.B", 3),
    ("from typing import NewType\nreturn NewType('Id', int)(5)", 5),
    ("from dataclasses import make_dataclass\nreturn str(make_dataclass('C', ['x'])(1))", "C(x=1)"),
    ("from typing import NamedTuple\nreturn str(NamedTuple('C', [('x', int)])(1))", "C(x=1)"),
    ("from typing import TypedDict\nreturn TypedDict('C', {'x': int})(x=1)", {"x": 1}),
    ("from typing import ParamSpec, TypeVar, TypeVarTuple\nreturn str(TypeVar('T'))", "~T"),
    (
        "from typing import Protocol, runtime_checkable\n@runtime_checkable\nclass P(Protocol):\n    def f(self): ...\n"
        "class Q:\n    def f(self): ...\nreturn [isinstance(Q(), P), isinstance(5, P)]",
        [True, False],
    ),
    (
        "import os, pathlib\nreturn [isinstance(one, os.PathLike) for one in (pathlib.PurePath('x'), 'x')]",
        [True, False],
    ),
    ("import os\nreturn os.path.abspath(b'x').decode()", "/x"),
    (
        "import weakref\nclass A: ...\na = A()\nfound = []\nweakref.finalize(a, found.append, 1)\ndel a\nreturn found",
        [1],
    ),
    ("import ast\nreturn ast.unparse(ast.parse('a+1'))", "a + 1"),
    (
        "import dataclasses\n@dataclasses.dataclass\nclass A:\n    next: A | None = None\n"
        "return repr(dataclasses.fields(A)[0].type)[:23]",
        "ForwardRef('A | None', ",
    ),
    ("import warnings\nwarnings.warn('x')\nreturn 1", 1),
]


@pytest.mark.parametrize(("body", "result"), OF_ITSELF)
def test_the_standard_library_finds_what_it_calls(body: str, result: Any) -> None:
    assert outcome(body) == result


def test_classes_made_by_calls_know_their_module() -> None:
    head = "import pickle\nfrom collections import namedtuple\nfrom enum import Enum\n"
    head += "P = namedtuple('P', 'x')\nC = Enum('C', 'A B')"
    body = "return [str(pickle.loads(pickle.dumps(one))) for one in (P(1), C.B)]"

    assert outcome(body, head=head) == ["P(x=1)", "C.B"]


def test_a_failure_says_where_in_the_source() -> None:
    [_, failure] = python_cell(
        workflow("fail(1)", head="def fail(x):\n    raise ValueError('boom') from KeyError('k')")
    ).start()[-1]

    of_exceptions = ["builtins.Exception", "builtins.BaseException"]
    assert failure == {
        "name": "ValueError",
        "bases": ["builtins.ValueError", *of_exceptions],
        "message": "boom",
        "cause": {
            "name": "KeyError",
            "bases": ["builtins.KeyError", "builtins.LookupError", *of_exceptions],
            "message": "'k'",
            "data": {"args": ["k"]},
        },
        "trace": [[6, "main"], [3, "fail"]],
    }


@pytest.mark.parametrize(
    ("source", "name", "data"),
    [
        ("x = (", "SyntaxError", {"line": 1, "column": 5}),
        ("import cloche\n\n1/0\n", "ZeroDivisionError", {"line": 3, "column": 1}),
        ("def f():\n  raise ValueError('x')\nf()\n", "ValueError", {"line": 2, "column": 3}),
        ("1", "TypeError", None),
    ],
)
def test_a_load_failure_says_where(source: str, name: str, data: Any) -> None:
    with pytest.raises(GuestStopped) as stopped:
        python_cell(source)

    assert stopped.value.code == -5
    assert (stopped.value.failure["name"], stopped.value.failure.get("data")) == (name, data)
