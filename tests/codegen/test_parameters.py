"""What a step is called with: bound as Python binds it, with Python's words; which parameter gets the context."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from codegen.signatures import CALLS, Called, python_says
from hypothesis import given
from pydantic import TypeAdapter, ValidationError

from cloche_codegen import GraphError, clone_step, create_step, create_workflow, step
from cloche_codegen.parameters import Parameters, mapping_type, parameters_of, workflow_parameters


class StepContext:
    """By its name alone it is the context."""


def annotated(a: int, b: int) -> None: ...
def named(a: int, b: int, ctx: Any) -> None: ...
def by_type(ctx: int, c: StepContext) -> None: ...
def by_text(a: int, *, c: cloche.StepContext) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def with_default(a, b=1): ...  # type: ignore[no-untyped-def]
def three(a, b, c): ...  # type: ignore[no-untyped-def]
def by_keyword(a: int, *, context: Any = None) -> None: ...


@pytest.mark.parametrize(
    ("function", "context"),
    [
        (annotated, None), (named, "ctx"), (by_type, "c"), (by_text, "c"), (with_default, None), (three, None),
        (by_keyword, "context"), (lambda data, c: None, "c"), (lambda ctx: None, None), (lambda data: None, None),
    ],
)  # fmt: skip
def test_the_context_is_found(function: Callable[..., Any], context: str | None) -> None:
    assert parameters_of(function).context == context


def test_a_workflow_finds_what_was_given() -> None:
    assert workflow_parameters(lambda data, given: None).context == "given"
    assert workflow_parameters(lambda data, other: None).context == "other"
    assert workflow_parameters(annotated).context is None


@pytest.mark.parametrize(
    ("function", "text", "first"),
    [
        (lambda: None, "step()", None),
        (lambda data: None, "step(data)", "data"),
        (lambda data, n=7: None, "step(data, n=...)", "data"),
        (named, "named(a, b)", None),
        (lambda a, /, b, *c, d, e=1, **f: None, "step(a, /, b, *c, d, e=..., **f)", None),
        (lambda a=1, b=2: None, "step(a=..., b=...)", "a"),
        (lambda *, a: None, "step(*, a)", "a"),
    ],
)
def test_parameters_are_written_without_the_context(function: Callable[..., Any], text: str, first: str | None) -> None:
    assert (parameters_of(function).definition, parameters_of(function).first) == (text, first)


@given(CALLS)
def test_a_call_is_bound_as_python_binds_it(call: Called) -> None:
    function, error = python_says(call)
    parameters = Parameters("f", inspect.signature(function))
    if error is not None:
        with pytest.raises(TypeError) as refused:
            parameters.of_call(call.arguments, call.keywords)
        assert str(refused.value) == error
        return
    bound = parameters.of_call(call.arguments, call.keywords)
    arguments, keywords = parameters.spread(bound)
    assert function(*arguments, **keywords) == function(*call.arguments, **call.keywords)
    inspect.signature(function).bind(*call.arguments, **call.keywords)


@given(CALLS)
def test_a_mapping_names_all_that_needs_a_value(call: Called) -> None:
    """Also what a call in Python could name by position alone."""
    function, error = python_says(call)
    parameters = Parameters("f", inspect.signature(function))
    if error is None and parameters.is_by_name:
        bound = parameters.of_call(call.arguments, call.keywords)
        extra = next((one.name for one in parameters.own.parameters.values() if one.kind is one.VAR_KEYWORD), "")
        rest = next((one.name for one in parameters.own.parameters.values() if one.kind is one.VAR_POSITIONAL), "")
        given = {**{name: value for name, value in bound.items() if name != extra}, **bound.get(extra, {})}
        if rest not in given:
            assert parameters.of_value(given) == bound


def test_a_mapping_type_checks_names_and_types() -> None:
    parameters = parameters_of(lambda a, *, b=1: None)
    adapter: TypeAdapter[Any] = TypeAdapter(mapping_type("f", parameters, {"a": int}))
    assert adapter.validate_python({"a": "3"}) == {"a": 3}
    for wrong in ({}, {"a": 1, "c": 2}, {"a": "x"}, 5):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


@step
async def charge(amount: int, currency: str, *, note: str = "") -> int:
    """Take the money."""
    return amount


def test_a_step_looks_like_its_function() -> None:
    for one in (charge, clone_step(charge, id="other")):
        found: Any = one
        assert (found.__name__, found.__doc__, found.__module__) == ("charge", "Take the money.", __name__)
        assert str(inspect.signature(found)) == "(amount: 'int', currency: 'str', *, note: 'str' = '') -> 'int'"


def test_a_method_is_no_step() -> None:
    message = (
        "charge: .*Bank.charge is a method: a step may run in another process, where there is no self. Make it a function, "
        "or put @staticmethod above @step, and pass what it needs"
    )
    with pytest.raises(GraphError, match=f"^{message}$"):

        class Bank:
            @step
            def charge(self, data: int) -> int:
                return data

    class Shop:
        @staticmethod
        @step
        def sell(data: int) -> int:
            return data

    assert Shop.sell.id == "sell"


def test_what_flows_into_several_parameters_is_checked_at_commit() -> None:
    def pay(amount: int, currency: str) -> int:
        return amount

    def made(output: Any) -> Any:
        gives = create_step(id="gives", execute=lambda data: data, input_schema=int, output_schema=output)
        return create_workflow(id="w").then(gives).then(create_step(id="pay", execute=pay)).commit()

    from typing_extensions import TypedDict

    Both = TypedDict("Both", {"amount": int, "currency": str})  # noqa: UP013
    One = TypedDict("One", {"amount": int})  # noqa: UP013
    assert made(Both).committed
    for output in (int, One):
        with pytest.raises(GraphError, match="pay"):
            made(output)
