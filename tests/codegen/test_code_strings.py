"""Code strings: what passes as one expression, and what would leave its place."""

from __future__ import annotations

import pytest

from cloche_codegen.conditions.code import BrokenCode, check, names_in, steps_in


@pytest.mark.parametrize(
    "text",
    [
        "inputData.score > 80",
        "inputData.list.some((x) => { if (x) { return x; } return false; })",
        "a / b / c",
        "/[)/]\\)/.test(inputData.text) // )",
        "`)${ `(${'}'}` + {a: 1}.a }`",
        "typeof /x)/",
        "x.return / 2 + (3)",
        "1. / (2) + .5 / 3 + 0x1F / 2 + 1e3/4",
        "x++ / 2",
        "\")\" + '(' /* ) */",
        "[1, 2][0] / 2",
        "function () { return 1; }()",
        "\n inputData\n",
        "a, b",
        "größe / 2",
        "((x) => x / 2)(4)",
    ],
)
def test_an_expression_passes(text: str) -> None:
    check(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is empty"),
        (" \n", "it is empty"),
        ("// only words", "it has nothing but comments"),
        ("1); evil(", "line 1, column 2: ')' closes nothing"),
        ("1) ; evil(1", "line 1, column 2: ')' closes nothing"),
        ("a; b", "line 1, column 2: ';' ends a statement; a code string is one expression"),
        ("f(", "line 1, column 3: '(' is never closed"),
        ("f(]", "line 1, column 3: ']' closes nothing"),
        ("a /* b", "line 1, column 3: a comment is never closed"),
        ("'a\n'", "line 1, column 1: a text is never closed"),
        ("`a${1}", "line 1, column 7: a template is never closed"),
        ("x = /a", "line 1, column 5: a regular expression is never closed"),
        ("\\u0061", "line 1, column 1: a backslash outside a text; write the character itself"),
        (
            "(() => { if (x) /y/.test(z) })()",
            "line 1, column 17: '/' here may divide or begin a regular expression; put parentheses around it",
        ),
        ("a\n  )", "line 2, column 3: ')' closes nothing"),
    ],
)
def test_what_is_no_expression_is_told(text: str, why: str) -> None:
    with pytest.raises(BrokenCode) as caught:
        check(text)
    assert str(caught.value) == why


@pytest.mark.parametrize(
    "text",
    [
        "1./a) ; evil(1./1",  # a number that ends in a point divides
        "(class { #return = 1; static x = this.#return / 1 }) ; evil( class { #return=1; static y = 2 /1 })",
        "a\u093e /x) ; evil( 1/1",  # a combining mark belongs to the identifier
        "(async()=>{for await(x of y) /({/ ; }) ) ; evil( ({ })",
        "(() => { for(;;){ break\n/({/ } })) ; evil( ({ })",
        "({}) ; evil(",
        "(function*(){ yield /)/ })",
        "x // \u2028 ) ; evil(",
        "x // \r ) ; evil(",
        "`${1}` ) ; evil(`",
        "(() => {} /)/ ) ; evil( 1",
    ],
)
def test_the_ways_out_are_closed(text: str) -> None:
    with pytest.raises(BrokenCode):
        check(text)


def test_names_and_steps_are_found() -> None:
    assert names_in("stepResults.a + inputData.x + initDataX") == ("inputData", "stepResults")
    found = steps_in("stepResults.a + stepResults['b c'] + getStepResult(\"d\") + stepResults?.e")
    assert found == frozenset({"a", "b c", "d", "e"})
    assert steps_in("stepResults.a + stepResults[inputData.id]") is None
    assert steps_in("Object.keys(stepResults)") is None
