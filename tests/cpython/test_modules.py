"""A slice of `make cpython`: twenty modules of CPython's own tests, where they can be had."""

from __future__ import annotations

import pytest

from cpython.campaign import MODULES, Unavailable, known, plain_guest, reason_of, run, suite_folder

SLICE = [
    "test_bisect", "test_bool", "test_calendar", "test_colorsys", "test_dictviews", "test_enumerate",
    "test_fnmatch", "test_generator_stop", "test_graphlib", "test_heapq", "test_int_literal", "test_named_expressions",
    "test_operator", "test_pow", "test_reprlib", "test_textwrap", "test_slice", "test_sort", "test_userlist", "test_yield_from",
]  # fmt: skip


def test_twenty_modules_pass() -> None:
    try:
        base, folder = plain_guest(), suite_folder()
    except Unavailable as why:
        pytest.skip(f"CPython's tests could not be had: {why}")

    verdicts = [one for module in SLICE for one in run(base, folder, module)]

    assert [(one.test, one.why) for one in verdicts if one.end == "fails" and not reason_of(one.test)] == []
    assert sum(one.end == "passes" for one in verdicts) > 700


def test_the_slice_is_of_the_modules_that_are_run() -> None:
    assert len(SLICE) == 20
    assert set(SLICE) <= set(MODULES)


def test_what_fails_is_known_by_its_reason() -> None:
    assert all(known().values())
