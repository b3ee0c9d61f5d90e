"""Objects of a class cross as their inherited `toJSON` says, or as their own data where nothing of them is lost."""

from __future__ import annotations

import pytest
from guest.cells import Cell, WorkflowFailed, run, workflow

MONEY = (
    "class Money { #cents; constructor(cents) { this.#cents = cents } toJSON(key) { return `${key}:${this.#cents}` } }"
)


def test_an_inherited_to_json_is_asked_once_with_its_key() -> None:
    body = f"{MONEY} return {{ price: new Money(5), list: [new Money(7)] }}"

    assert run(body) == {"price": "price:5", "list": ["0:7"]}


def test_at_the_top_the_key_is_empty() -> None:
    assert run(f"{MONEY} return new Money(5)") == ":5"


def test_what_it_gives_is_not_asked_again() -> None:
    body = (
        "class A { x = 1; toJSON() { return this } } class B { toJSON() { return new A() } } return [new A(), new B()]"
    )

    assert run(body) == [{"x": 1}, {"x": 1}]


def test_it_is_asked_in_arguments_too() -> None:
    assert Cell(workflow(f"{MONEY} await step('s')(new Money(5))")).start() == [[0, 1, "s", "s", ["0:5"]]]


@pytest.mark.parametrize(
    "value",
    [
        "{ a: 1, toJSON: 5 }",
        "Object.assign(Object.create(null), { a: 1 })",
        "Object.assign(Object.create({ toJSON: 5 }), { a: 1 })",
        "new (class { a = 1; #method() {} })()",
        "new (class { a = 1; #nothing })()",
        "new (class { a = 1; get b() { return 2 } })()",
    ],
)
def test_own_data_crosses_as_it_is(value: str) -> None:
    assert run(f"const value = {value}; return [value.a, Object.keys(value).length > 0 && (await null, value).a]") == [
        1,
        1,
    ]
    assert run(f"const value = {value}; return value")["a"] == 1


def test_that_of_object_prototype_is_not_asked() -> None:
    assert run("Object.prototype.toJSON = () => 'all'; class A { a = 1 } return [new A(), { b: 1 }]") == [
        {"a": 1},
        {"b": 1},
    ]


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("new Hidden()", "result"),
        ("{ items: [1, new Hidden()] }", "result.items[1]"),
        ("new WeakRef({})", "result"),
        ("{ at: new AbortController() }", "result.at"),
    ],
)
def test_private_fields_that_would_be_lost_are_refused_by_place(value: str, place: str) -> None:
    with pytest.raises(WorkflowFailed) as failed:
        run(f"class Hidden {{ #secret = 1; open = 2 }} return {value}")

    said = f"{place} has private fields, which would be lost: give its class a toJSON()"
    assert failed.value.failure == {"name": "TypeError", "message": said}


def test_a_to_json_that_throws_fails_with_its_own_error() -> None:
    (_, failure) = Cell(workflow("class A { toJSON() { throw new RangeError('mine') } } return new A()")).start()[0]

    assert failure == {"name": "RangeError", "message": "mine"}


def test_a_to_json_cannot_ask_for_commands() -> None:
    (_, failure) = Cell(workflow("class A { toJSON() { cloche.entered('x', 1) } } return new A()")).start()[0]

    assert failure["message"].startswith("a getter asked for a command")
