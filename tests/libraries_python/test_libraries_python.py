"""A slice of `make libraries-python`: ten programs with popular libraries give CPython's answer under glass."""

from __future__ import annotations

import pytest

from libraries_python.campaign import Unavailable, compared, names

SLICE = [
    "attrs", "click", "jinja2", "jsonschema", "lark", "pytz", "pyyaml", "rich", "sqlglot", "typing_extensions",
]  # fmt: skip


def test_ten_programs_give_cpython_s_answer() -> None:
    try:
        verdicts = list(compared(SLICE))
    except Unavailable as why:
        pytest.skip(f"the libraries could not be had: {why}")

    assert [(one.name, one.why) for one in verdicts if one.why] == []


def test_there_are_programs_of_every_kind() -> None:
    assert len(names()) == 29
