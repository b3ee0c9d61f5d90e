"""Failures across the glass: what a native workflow catches, what it sees of it, and what people see of where it happened."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from support.apps import in_loop, run_in_loop
from support.guests import needs_python

import cloche
from cloche import (
    Cloche,
    CompletionError,
    DirectEngine,
    FatalError,
    Grant,
    InvalidInput,
    NotGranted,
    Policy,
    RedispatchedTooOften,
    RetryableError,
    UnknownOutcome,
    Workflow,
    create_workflow,
    step,
    workflow,
)
from cloche.history import Failure
from cloche.run.results import RunResult
from cloche.steps.failing import failure_of
from cloche.store import MemoryStore


class ShopError(Exception):
    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class Declined(ShopError, ValueError):
    pass


class Refused(FatalError):
    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Busy(RetryableError):
    pass


class Orders:
    """Another place where a class of the same name may be."""

    class Declined(Exception):
        pass


class Alone(LookupError):
    def __init_subclass__(cls) -> None:
        raise TypeError("no class may be made of this one")


NEXT: list[Callable[[], BaseException]] = []  # what the step raises next


def will_raise(*makes: Callable[[], BaseException]) -> None:
    NEXT[:] = makes


@step
def fails(data: Any) -> Any:
    raise NEXT[0]() if len(NEXT) == 1 else NEXT.pop(0)()


@pytest.fixture(autouse=True)
def _python() -> None:
    needs_python()


async def lived(made: Workflow, data: Any = None, *, store: Any = "memory:", **options: Any) -> RunResult:
    """How a run ended; its history leads a fresh guest the same way."""
    async with Cloche(store, workflows=[made], handle_sigterm=False, **options) as app:
        result = await (await app.start(made, data, run_id="r1")).result()
        assert (await app.replay("r1")).ok
        return result


# ---- what is caught ------------------------------------------------------------------------------------------------------


@workflow
async def catches(data: Any) -> list[Any]:
    caught: list[Any] = []
    try:
        await fails(data)
    except Declined:
        caught.append("Declined")
    except Refused as error:
        caught += ["Refused", error.code]
    except Busy:
        caught.append("Busy")
    except FatalError:
        caught.append("FatalError")
    except ShopError:
        caught.append("ShopError")
    except UnicodeError:
        caught.append("UnicodeError")
    except ValueError:
        caught.append("ValueError")
    except TimeoutError:
        caught.append("TimeoutError")
    except OSError as error:
        caught += ["OSError", error.errno]
    except LookupError:
        caught.append("LookupError")
    except json.JSONDecodeError:
        caught.append("never: a ValueError")
    except Exception as error:
        caught += ["Exception", type(error).__name__]
    return caught


class Unknown(KeyError):
    pass


CAUGHT: list[tuple[Callable[[], BaseException], list[Any]]] = [
    (lambda: Declined("no"), ["Declined"]),
    (lambda: ShopError("no"), ["ShopError"]),
    (lambda: Refused("no", 7), ["Refused", 7]),
    (lambda: Busy("later", retry_after=0), ["Busy"]),
    (lambda: FatalError("no"), ["FatalError"]),
    (lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd"), ["UnicodeError"]),
    (lambda: json.JSONDecodeError("odd", "{", 1), ["ValueError"]),
    (lambda: ConnectionResetError(104, "reset"), ["OSError", 104]),
    (lambda: FileNotFoundError(2, "no such file"), ["OSError", 2]),
    (lambda: TimeoutError("late"), ["TimeoutError"]),
    (lambda: Unknown("k"), ["LookupError"]),
    (lambda: Orders.Declined("another"), ["Exception", "Failure"]),
    (lambda: MemoryError("host"), ["Exception", "Failure"]),
    (lambda: StopAsyncIteration("odd"), ["Exception", "Failure"]),
    (lambda: SystemExit(3), ["Exception", "Failure"]),
]


@pytest.mark.parametrize(("make", "caught"), CAUGHT, ids=lambda one: "")
@in_loop
async def test_except_catches_what_python_would(make: Callable[[], BaseException], caught: list[Any]) -> None:
    will_raise(make)
    assert (await lived(catches)).unwrap() == caught


@workflow
async def catches_by_the_library(data: Any) -> str:
    try:
        await fails(data)
    except json.JSONDecodeError as error:
        return str(error)
    return "nothing"


@in_loop
async def test_exceptions_of_pythons_library_are_caught_where_it_is_used() -> None:
    will_raise(lambda: json.JSONDecodeError("odd", "{", 1))
    assert (await lived(catches_by_the_library)).unwrap() == "odd: line 1 column 2 (char 1)"


@workflow
async def catches_alone(data: Any) -> Any:
    try:
        await fails(data)
    except Alone:
        return "its own"
    except LookupError as error:
        return error.name  # type: ignore[attr-defined]
    return "nothing"


@in_loop
async def test_what_cannot_be_a_failure_as_well_is_caught_by_its_nearest_base() -> None:
    will_raise(lambda: Alone("no"))
    assert (await lived(catches_alone)).unwrap() == "Alone"


@workflow
async def catches_cloches_own(data: Any) -> list[str]:
    caught: list[str] = []
    try:
        await only_once(data)
    except UnknownOutcome:
        caught.append("UnknownOutcome")
    except InvalidInput as error:
        caught += ["InvalidInput", type(error).__name__]
    except NotGranted:
        caught.append("NotGranted")
    except (RedispatchedTooOften, CompletionError):
        caught.append("never")
    except cloche.Failure as error:
        caught.append(f"Failure {error.name}")
    return caught


@step(at_most_once=True, retries=0)
def only_once(data: int) -> int:
    raise NEXT[0]()


@in_loop
async def test_cloches_own_are_caught_by_their_names() -> None:
    assert (await lived(catches_cloches_own, "no number")).unwrap() == ["InvalidInput", "InvalidInput"]
    policy = Policy(steps=(Grant(step="another"),))
    assert (await lived(catches_cloches_own, 1, policy=policy)).unwrap() == ["NotGranted"]
    will_raise(lambda: ShopError("odd"))
    assert (await lived(catches_cloches_own, 1)).unwrap() == ["Failure ShopError"]


@in_loop
async def test_an_outcome_that_nobody_knows_is_caught_as_that() -> None:
    from cloche.run.outcomes import unknown_outcome

    failure = unknown_outcome("only_once")
    assert failure.bases[0] == "cloche.UnknownOutcome"
    will_raise(lambda: UnknownOutcome("looked up by the step itself"))
    assert (await lived(catches_cloches_own, 1)).unwrap() == ["UnknownOutcome"]


# ---- what is seen of it --------------------------------------------------------------------------------------------------


def seen(error: BaseException) -> dict[str, Any]:
    """What a workflow sees of an exception. It is taken under glass, and asked of the original outside."""
    known = {
        "ShopError": ShopError, "Declined": Declined, "Refused": Refused, "FatalError": FatalError, "ValueError": ValueError,
        "KeyError": KeyError, "LookupError": LookupError, "OSError": OSError, "ConnectionError": ConnectionError,
        "ArithmeticError": ArithmeticError, "ExceptionGroup": ExceptionGroup,
    }  # fmt: skip
    members = getattr(error, "exceptions", ())
    return {
        "is": [name for name, kind in known.items() if isinstance(error, kind)],
        "message": str(error) if not members else str(error).partition(":")[0],
        "code": getattr(error, "code", None),
        "detail": getattr(error, "detail", None),
        "notes": list(getattr(error, "__notes__", [])),
        "cause": None if error.__cause__ is None else seen(error.__cause__),
        "members": [seen(member) for member in members],
    }


@workflow
async def looks(data: Any) -> Any:
    try:
        await fails(data)
    except Exception as error:
        return seen(error)
    return None


@workflow
async def looks_later(data: Any) -> Any:
    try:
        await fails(data)
    except Exception as error:
        await cloche.wait_for_event("go")
        return seen(error)
    return None


texts = st.text("abc äß😀", max_size=8)
details = st.none() | st.integers(-5, 5) | st.lists(texts, max_size=2) | st.dictionaries(texts, texts, max_size=2)
makers: list[Callable[[str, int], Exception]] = [
    ShopError, Declined, Refused,
    lambda text, code: ValueError(text), lambda text, code: KeyError(text), lambda text, code: ConnectionError(text),
    lambda text, code: ZeroDivisionError(text), lambda text, code: FatalError(text), lambda text, code: Unknown(text),
]  # fmt: skip


def _raised(error: Exception, cause: Exception | None, notes: list[str], detail: Any) -> Exception:
    for note in notes:
        error.add_note(note)
    error.detail = detail  # type: ignore[attr-defined]
    error.__cause__ = cause
    return error


def _trees(inner: st.SearchStrategy[Exception]) -> st.SearchStrategy[Exception]:
    one = st.builds(lambda make, text, code: make(text, code), st.sampled_from(makers), texts, st.integers(0, 9))
    group = st.builds(
        lambda text, members: ExceptionGroup(text, members), texts, st.lists(inner, min_size=1, max_size=3)
    )
    return st.builds(_raised, one | group, st.none() | inner, st.lists(texts, max_size=2), details)


leaves = st.builds(lambda make, text: make(text, 1), st.sampled_from(makers), texts)
trees = st.recursive(leaves, _trees, max_leaves=6)
FEW = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


@FEW
@given(trees)
def test_any_exception_of_a_step_arrives_as_it_was(error: Exception) -> None:
    will_raise(lambda: error)
    assert run_in_loop(lived(looks)).unwrap() == seen(error)


@FEW
@given(trees)
def test_it_is_the_same_after_a_restart(error: Exception) -> None:
    async def lives() -> Any:
        store = MemoryStore()
        async with Cloche(store, workflows=[looks_later], handle_sigterm=False) as app:
            run = await app.start(looks_later, None, run_id="r1")
            while await run.status() != "waiting":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        async with Cloche(store, workflows=[looks_later], handle_sigterm=False) as app:
            await app.send_event("r1", "go")
            return (await (await app.get("r1")).result()).unwrap()

    will_raise(lambda: error)
    assert run_in_loop(lives()) == seen(error)


# ---- graphs --------------------------------------------------------------------------------------------------------------


def _as_data(failure: Failure) -> dict[str, Any]:
    """The failure form, as settled arms give it."""
    return json.loads(json.dumps(failure.to_wire()))  # type: ignore[no-any-return]


@FEW
@given(trees, st.sampled_from(["direct", "javascript", "python"]))
def test_graphs_see_the_same_on_every_engine(error: Exception, where: str) -> None:
    guest: Any = "javascript" if where == "direct" else where
    made = create_workflow(id="w", guest=guest).parallel([fails], settle=True).commit()
    will_raise(lambda: error)
    options = {"engine": DirectEngine()} if where == "direct" else {}
    result = run_in_loop(lived(made, **options)).unwrap()
    expected = failure_of(error).told_to(frozenset())
    assert result["fails"] == {"status": "failed", "error": _as_data(expected)}


@step
def of_the_system(data: Any) -> str:
    return "later"


@step
def of_another_kind(data: Any) -> str:
    return "never"


BY_BASE = {"in": {"value": {"literal": "builtins.OSError"}, "set": {"path": "inputData.fails.error.bases"}}}


@pytest.mark.parametrize("where", ["direct", "javascript", "python"])
@in_loop
async def test_a_condition_can_ask_for_a_base(where: str) -> None:
    guest: Any = "javascript" if where == "direct" else where
    arms = create_workflow(id="w", guest=guest).parallel([fails], settle=True)
    made = arms.choose([(BY_BASE, of_the_system)], otherwise=of_another_kind).commit()
    options = {"engine": DirectEngine()} if where == "direct" else {}
    for error, answer in ((ConnectionError("no"), "later"), (KeyError("no"), "never")):
        will_raise(lambda: error)  # noqa: B023  # it is raised in this turn
        assert list((await lived(made, **options)).unwrap().values()) == [answer]


JAVASCRIPT = """
export default async (input) => {
  try {
    await cloche.step("fails")(input);
  } catch (error) {
    return [error.name, error.bases, error.notes, error.errors?.map((one) => one.name)];
  }
};
"""


@in_loop
async def test_javascript_sees_bases_notes_and_members() -> None:
    def make() -> BaseException:
        error = ExceptionGroup("two", [KeyError("k"), ValueError("v")])
        error.add_note("a note")
        return error

    will_raise(make)
    async with Cloche("memory:", steps=[fails], handle_sigterm=False, policy=Policy()) as app:
        await app.deploy("acme", JAVASCRIPT, workflow="w", language="javascript")
        result = (await (await app.tenant("acme").start("w", 1)).result()).unwrap()
    bases = ["ExceptionGroup", "BaseExceptionGroup", "Exception", "BaseException"]
    assert result == ["ExceptionGroup", [f"builtins.{one}" for one in bases], ["a note"], ["KeyError", "ValueError"]]


PYTHON = """
from cloche import step, workflow

class Declined(Exception): ...

@workflow
async def main(data):
    try:
        await step("fails")(data)
    except Declined as error:
        return [error.name, list(error.bases)]
"""


@in_loop
async def test_code_of_a_tenant_is_told_of_pythons_and_cloches_classes_alone() -> None:
    will_raise(lambda: Declined("no", 4))
    async with Cloche("memory:", steps=[fails], handle_sigterm=False, policy=Policy()) as app:
        await app.deploy("acme", PYTHON, workflow="w", language="python")
        result = (await (await app.tenant("acme").start("w", 1)).result()).unwrap()
    assert result == ["Declined", ["builtins.ValueError", "builtins.Exception", "builtins.BaseException"]]


@workflow
async def breaks(data: Any) -> Any:
    raise Declined("of its own")


@workflow
async def parent(data: Any) -> str:
    try:
        await breaks(data)
    except ShopError as error:
        return f"{type(error).__name__} {error.code}"
    return "nothing"


@in_loop
async def test_a_parent_catches_what_its_child_raised() -> None:
    assert (await lived(parent)).unwrap() == "Declined 0"
