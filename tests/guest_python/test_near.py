"""What somebody meant by a name that is not there."""

from __future__ import annotations

from typing import Any

import pytest
from guest_python.python_cells import outcome

import cloche

HEAD = "import asyncio\nimport math\n\nimport cloche\n"


def message(line: str) -> str:
    said: Any = outcome(line, head=HEAD)[1]
    return str(said)


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("cloche.gahter()", "gather"),
        ("cloche.sleepuntil(1)", "sleep_until"),
        ("asyncio.gatherr()", "gather"),
        ("math.sqr(2)", "sqrt"),
        ("'a'.uper()", "upper"),
        ("from math import sqr", "sqrt"),
        ("from cloche import gahter", "gather"),
        ("amount = 1; return amuont", "amount"),
        ("return pirnt", "print"),
    ],
)
def test_a_misspelt_name_says_which_is_meant(line: str, meant: str) -> None:
    assert message(line).endswith(f". Did you mean {meant!r}?")


def test_what_is_like_nothing_says_no_more() -> None:
    assert message("math.wobble(2)") == "module 'math' has no attribute 'wobble'"
    assert message("raise AttributeError('of my own')") == "of my own"
    assert message("raise NameError('of my own', name='mian')").startswith("of my own")


def test_names_of_the_host_can_still_be_imported() -> None:
    names: list[str] = vars(cloche)["__all__"]
    assert outcome(f"from cloche import {', '.join(names)}; return 1") == 1
