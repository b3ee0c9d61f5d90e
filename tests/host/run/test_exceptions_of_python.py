"""What Python itself keeps of its exceptions crosses with them: numbers, names of files, arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from host.run.test_failures import Unknown, fails, lived, will_raise
from support.apps import in_loop
from support.guests import needs_python

from cloche import workflow
from cloche.history import Failure


@pytest.fixture(autouse=True)
def _python() -> None:
    needs_python()


@workflow
async def looks_into(data: Any) -> Any:
    try:
        await fails(data)
    except OSError as error:
        return [error.errno, error.strerror, error.filename]
    except KeyError as error:
        return [list(error.args)]
    except UnicodeDecodeError as error:
        return [error.encoding, error.object, error.start, error.end, error.reason]
    except Exception as error:
        return [list(error.args), error.data]  # type: ignore[attr-defined]


HELD: list[tuple[Callable[[], BaseException], list[Any]]] = [
    (lambda: FileNotFoundError(2, "no such file", "orders.csv"), [2, "no such file", "orders.csv"]),
    (lambda: KeyError("k"), [["k"]]),
    (lambda: Unknown(("a", 1)), [[["a", 1]]]),
    (lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd"), ["utf-8", b"\xff", 0, 1, "odd"]),
    (lambda: ValueError("no", 7), [["no", 7], {"args": ["no", 7]}]),
    (lambda: ValueError("no"), [["no"], None]),
]


@pytest.mark.parametrize(("make", "held"), HELD, ids=lambda one: "")
@in_loop
async def test_what_an_exception_of_pythons_holds_crosses(make: Callable[[], BaseException], held: list[Any]) -> None:
    will_raise(make)
    assert (await lived(looks_into)).unwrap() == held


@in_loop
async def test_what_of_it_cannot_cross_is_left_out() -> None:
    will_raise(lambda: ValueError(object(), 1))
    assert (await lived(looks_into)).unwrap()[1] is None


def test_a_guest_of_before_is_told_what_it_was_told() -> None:
    failure = Failure.from_exception(KeyError("k"))
    assert failure.to_wire()["data"] == {"args": ["k"]}
    assert failure.to_wire(abi=1) == {"name": "KeyError", "message": "'k'"}
