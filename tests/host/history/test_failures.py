"""Failures as values: what crosses, and what stays on the host."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import texts, values

from cloche.errors import FuelExhausted, InvalidInput
from cloche.history import Failure
from cloche.history.check import check
from cloche.history.failures import CAUSES_MAX, MESSAGE_CHARS_MAX, traceback_of
from cloche.history.messages import StepFailed
from cloche.history.values import decode, encode, plain

failures = st.recursive(
    st.builds(Failure, texts, texts, values(5).map(plain)),
    lambda inner: st.builds(Failure, texts, texts, values(5).map(plain), inner),
    max_leaves=3,
)


class PaymentDeclined(Exception):
    def __init__(self, message: str, **attributes: Any) -> None:
        super().__init__(message)
        self.__dict__.update(attributes)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as caught:
        return caught


@given(failures)
def test_a_failure_comes_back_as_it_went(failure: Failure) -> None:
    assert repr(Failure.from_wire(decode(encode(failure.to_wire())))) == repr(failure)


@given(failures)
def test_the_keys_of_a_failure_are_in_order(failure: Failure) -> None:
    wire = failure.to_wire()
    assert list(wire) == list(plain(wire))


def test_name_text_data_and_cause_of_an_exception_cross() -> None:
    error = raised(PaymentDeclined("no funds", code=402, card={"last": "4242"}), raised(ValueError("limit")))
    assert Failure.from_exception(error) == Failure(
        "PaymentDeclined", "no funds", {"card": {"last": "4242"}, "code": 402}, Failure("ValueError", "limit")
    )


def test_what_cannot_cross_and_what_is_private_is_left_out_of_the_data() -> None:
    error = raised(PaymentDeclined("no", connection=object(), _secret=1, code=1))
    assert Failure.from_exception(error) == Failure("PaymentDeclined", "no", {"code": 1})


def test_no_trace_of_the_host_is_in_a_failure_but_in_the_traceback_beside_it() -> None:
    error = raised(ValueError("no"))
    assert b"test_failures" not in encode(Failure.from_exception(error).to_wire())
    assert "test_failures.py" in traceback_of(error)


def test_an_error_of_cloche_crosses_without_its_facts() -> None:
    assert Failure.from_exception(FuelExhausted("too long", fuel=5)) == Failure("FuelExhausted", "too long")


def test_an_error_whose_text_cannot_be_made_still_crosses() -> None:
    assert Failure.from_exception(Unspeakable()) == Failure("Unspeakable", "(its text could not be made)")


def test_text_is_bounded_and_is_text() -> None:
    failure = Failure.from_exception(ValueError("\ud800" + "x" * 100_000))
    assert failure == Failure("ValueError", "?" + "x" * (MESSAGE_CHARS_MAX - 1))


def test_causes_are_bounded_also_when_they_run_in_a_circle() -> None:
    first, second = ValueError("1"), ValueError("2")
    first.__cause__, second.__cause__ = second, first
    failure, count = Failure.from_exception(first), 0
    while failure.cause is not None:
        failure, count = failure.cause, count + 1
    assert count == CAUSES_MAX


@pytest.mark.parametrize("levels", range(55, 66))
def test_what_is_made_of_an_exception_always_fits_the_glass(levels: int) -> None:
    deep: Any = 1
    for _ in range(levels):
        deep = [deep]
    failure = Failure.from_exception(
        raised(PaymentDeclined("no", deep=deep), raised(PaymentDeclined("why", deep=deep)))
    )
    event = StepFailed(0, 1, failure).pack()  # type: ignore[arg-type]
    assert check(event) == len(event)
    assert (failure.data is None) == (levels > 62)


def test_data_that_cannot_cross_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"data\.x is a builtins\.object"):
        Failure("E", "no", {"x": object()}).to_wire()


def test_a_failure_as_text_is_its_name_and_message() -> None:
    assert [str(Failure("E", "no")), str(Failure("E", ""))] == ["E: no", "E"]
