"""Failures as values: what crosses, and what stays on the host."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import texts, values

from cloche.errors import FuelExhausted, InvalidInput
from cloche.history import Failure
from cloche.history.check import check
from cloche.history.failures import BASES_MAX, CAUSES_MAX, MESSAGE_CHARS_MAX, traceback_of
from cloche.history.messages import StepFailed
from cloche.history.values import decode, encode, encode_plain, plain

some_texts = st.lists(texts, max_size=3).map(tuple)
failures = st.recursive(
    st.builds(Failure, texts, texts, values(5).map(plain), bases=some_texts, notes=some_texts),
    lambda inner: st.builds(
        Failure, texts, texts, values(5).map(plain), inner, members=st.lists(inner, max_size=2).map(tuple)
    ),
    max_leaves=3,
)
VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "failures.json").read_text())


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


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_guest_is_told_what_its_version_can_say(vector: dict[str, str]) -> None:
    failure = Failure.from_wire(decode(bytes.fromhex(vector["hex"])))
    assert [encode_plain(failure.to_wire(abi=abi)).hex() for abi in (1, 2)] == [vector["abi_1"], vector["hex"]]


@given(failures)
def test_a_failure_is_the_same_in_another_process(failure: Failure) -> None:
    assert repr(pickle.loads(pickle.dumps(failure))) == repr(failure)


def test_code_is_told_of_the_classes_that_it_has() -> None:
    failure = Failure.from_exception(
        raised(PaymentDeclined("no"), raised(ExceptionGroup("g", [PaymentDeclined("in")])))
    )
    own = f"{__name__}.PaymentDeclined"
    assert failure.bases == (own, "builtins.Exception", "builtins.BaseException")
    assert failure.told_to(frozenset([own])).bases == failure.bases
    told = failure.told_to(frozenset(["other.PaymentDeclined"]))
    assert own not in str(told.to_wire())
    assert told.cause is not None
    assert told.cause.members[0].bases == ("builtins.Exception", "builtins.BaseException")
    library = Failure("E", "m", bases=("json.decoder.JSONDecodeError", "cloche.FatalError"))
    assert library.told_to(frozenset()).bases == library.bases
    assert library.told_to(None).bases == ("cloche.FatalError",)


def test_of_many_bases_those_that_all_know_are_kept() -> None:
    kind: type[Exception] = ValueError
    for number in range(40):
        kind = type(f"E{number}", (kind,), {})
    bases = Failure.from_exception(kind("x")).bases
    assert (len(bases), bases[0]) == (BASES_MAX, f"{__name__}.E39")
    assert bases[-3:] == ("builtins.ValueError", "builtins.Exception", "builtins.BaseException")


def test_a_failure_that_is_raised_on_crosses_as_itself() -> None:
    inner = Failure("Declined", "no", {"code": 1}, step="charge", bases=("shop.Declined",), traceback="where it was")
    told = Failure.from_exception(raised(ValueError("run r1 failed"), inner))
    assert told.cause == Failure("Declined", "no", {"code": 1})
    assert "where it was" not in str(told.to_wire())


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
