"""Native workflows under glass and without: the same events, the same bytes, whatever their code asks Python for."""

from __future__ import annotations

from typing import Any

import pytest
from host.engines.twins import NOW, SEED, Twins, engines, event, opened
from support.guests import needs_python

from cloche.engines import Code
from cloche.errors import LoadFailed

HEAD = """\
import cloche
from cloche import gather, log, now, race, sleep, sleep_until, start_child, step, wait_for_event, workflow

"""


def code_of(source: str) -> Code:
    return Code("w", engines()[0].guest("python")[0], source, {}, "", "python")


class NativeTwins(Twins):
    def __init__(self, body: str, head: str = "") -> None:
        needs_python()
        lines = "\n".join("    " + line for line in body.strip("\n").split("\n"))
        self.code = code_of(f"{HEAD}{head}\n@workflow\nasync def main(input, given):\n{lines}\n")
        self.glass, self.direct = (opened(engine, self.code) for engine in engines())
        self.told, self.said, self.fault = [], [], None


def begun(body: str, head: str = "", value: Any = None, **given: Any) -> tuple[NativeTwins, list[list[Any]]]:
    twins = NativeTwins(body, head)
    return twins, twins.tell(event(0, NOW, SEED, value, given))


BODIES = [
    # time and chance
    "import time\nreturn [time.time(), time.time_ns(), time.monotonic(), time.gmtime()[:6], time.strftime('%Y')]",
    "import datetime as dt\nreturn [dt.datetime.now(), dt.datetime.now(dt.UTC), dt.date.today(), dt.datetime.utcnow().year]",
    "from datetime import datetime, date\nat = datetime(2026, 1, 2, 3)\n"
    "return [isinstance(at, datetime), isinstance(at, date), datetime.fromisoformat('2026-01-02'), at - datetime.now()]",
    "import random\nreturn [random.random(), random.randint(1, 99), random.choice('abc'), random.sample(range(9), 4)]",
    "import uuid, secrets, os\n"
    "return [uuid.uuid4(), secrets.token_hex(8), secrets.randbelow(1000), os.urandom(9), secrets.choice('abcd')]",
    "import random\nreturn [random.SystemRandom().random(), random.SystemRandom().randint(1, 6)]",
    "return [now(), (await sleep(1)) is None]",
    # lines of the log
    "print('a', 1)\nprint('b', end='')\nprint('c\\nd')\nlog.warning('w', input)",
    "import logging\nlogging.info('x %d', 3)\nlogging.getLogger('shop').warning('low')\nlogging.debug('y')",
    # values
    "from decimal import Decimal\nfrom uuid import UUID\nfrom datetime import date, time, timedelta\n"
    "from pathlib import PurePath\n"
    "some = [date(2026, 1, 2), time(3, 4), timedelta(days=-1, seconds=5.5)]\n"
    "return [Decimal('1.50'), UUID(int=7), some, {3, 1, 2}, PurePath('a')]",
    "from zoneinfo import ZoneInfo\nfrom datetime import datetime\n"
    "at = datetime(2026, 3, 29, 1, 30, tzinfo=ZoneInfo('Europe/Berlin'))\n"
    "return [at, 2**70, -(2**70), -0.0, 1.0, 'é\\ud800', b'x', {'b': 1, 'a': 2}]",
    "a = []\na.append({'x': a})\nreturn a",
    "return {1: 2}",
    "return [print]",
    "return ValueError('in data')",
    "a = 1\nfor _ in range(70):\n    a = [a]\nreturn a",
    # failures
    "raise KeyError('k')",
    "try:\n    1 / 0\n"
    "except ZeroDivisionError as error:\n    error.add_note('n')\n    error.code = 7\n    raise ValueError('v') from error",
    "raise ExceptionGroup('two', [KeyError('k'), ValueError('v')])",
    "open('/etc/passwd')",
    "import socket",
    "import numpy",
    "step('lost')(1)\nreturn 'done'",
    "def deeper(n):\n    return deeper(n + 1)\ntry:\n    deeper(0)\nexcept RecursionError:\n    return 'caught'",
    "class Stop(BaseException): pass\nraise Stop('s')",
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_what_is_asked_of_python_is_answered_alike(body: str) -> None:
    begun(body, value={"n": 1})


DATA = """
import dataclasses, enum

class Phase(enum.Enum):
    OPEN = "open"
    DONE = "done"

@dataclasses.dataclass
class Point:
    x: int
    y: float = 2.5

    @property
    def sum(self):
        return self.x + self.y
"""


def test_classes_of_the_workflow_cross() -> None:
    _, commands = begun("return [Point(1), Phase.DONE, {'p': Point(2, 3.0)}, Point(4).sum]", DATA)
    assert commands == [[7, [{"x": 1, "y": 2.5}, "done", {"p": {"x": 2, "y": 3.0}}, 6.5]]]


CALLS = """
try:
    first = await race(step("a")(1), sleep(5), wait_for_event("e", timeout=3))
    both = await gather(step("b")(first), start_child("c", 2), limit=1, settle=True)
except ValueError as error:
    both = [type(error).__name__, str(error), error.bases]
finally:
    log("cleaned up")
return [both, given["state"], now()]
"""


@pytest.mark.parametrize("seed", range(8))
def test_calls_are_answered_in_any_order(seed: int) -> None:
    twins, commands = begun(CALLS, value=1, state={"k": 1})
    answers = [
        lambda call: event(1, NOW + 1, call, {"v": 1.5}, {"k": 2}),
        lambda call: event(
            2, NOW + 2, call, {"name": "Declined", "message": "no", "bases": ["shop.Declined", "builtins.ValueError"]}
        ),
        lambda call: event(3, NOW + 3, call, {"path": "p"}, {"s": 1}),
        lambda call: event(10, NOW + 4, call, 7),
    ]
    for turn in range(8):
        asked = {command[1]: command[0] for command in commands if command[0] < 4}
        if not asked or twins.fault:
            break
        call, kind = sorted(asked.items())[(seed + turn) % len(asked)]
        if kind == 0:
            commands = twins.tell(answers[(seed + turn) % 4](call))
        elif kind == 1:
            commands = twins.tell(event(4, NOW + 5, call))
        elif kind == 2:
            commands = twins.tell(event(5, NOW + 6, call, "event"))
        else:
            commands = twins.tell(event(6, NOW + 7, call, [seed % 2, {"name": "E", "message": "m"}]))
    twins.tell(event(7, NOW + 9, "enough"))


def test_a_run_that_is_canceled_cleans_up() -> None:
    twins, _ = begun("try:\n    await step('a')()\nfinally:\n    await step('undo')(input)", value=3)
    assert twins.tell(event(7, NOW)) == [[9, 1], [0, 2, "undo", "undo", [3]]]
    assert twins.tell(event(1, NOW, 2, None))[-1][1]["name"] == "Canceled"


@pytest.mark.parametrize(
    "source", ["def main(:", "raise ValueError('no')", "x = 1", "import nothing_like_it", "import uuid\nuuid.uuid4()"]
)
def test_what_does_not_load_says_the_same(source: str) -> None:
    needs_python()
    told = []
    for engine in engines():
        with pytest.raises(LoadFailed) as caught:
            opened(engine, code_of(source))
        told.append(caught.value.failure)
    assert told[0] == told[1]


def test_runs_of_one_process_do_not_see_each_other() -> None:
    head = "seen = []\nclass Own(Exception): pass"
    body = "seen.append(input)\ntry:\n    await step('s')(input)\nexcept Own:\n    seen.append('own')\n"
    body += "return [seen, given['state']]"
    one, _ = begun(body, head, 1, state={"a": 1})
    other, _ = begun(body, head, 2, state={"b": 2})
    assert one.tell(event(2, NOW, 1, {"name": "Own", "message": ""})) == [[7, [[1, "own"], {"a": 1}]]]
    assert other.tell(event(1, NOW, 1, None, {"c": 3})) == [[7, [[2], {"b": 2, "c": 3}]]]


def test_what_is_dropped_cleans_up_as_itself() -> None:
    """Code that runs when its coroutine is closed says nothing into another run."""
    twins, _ = begun("try:\n    await step('s')()\nfinally:\n    log('closed')\n    print('closed')")
    other, _ = begun("await step('t')()\nlog('other')")
    del twins
    assert other.tell(event(1, NOW, 1, None)) == [[4, 2, "other"], [7, None]]
