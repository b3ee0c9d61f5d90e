"""A slice of `make libraries`: ten programs with libraries of npm's give Node's answer under glass."""

from __future__ import annotations

import pytest

from libraries.campaign import PROGRAMS, Unavailable, compared, prepare

SLICE = [
    "async", "csv", "immer", "luxon_zone", "numbers", "rxjs_timers", "small_texts", "temporal_zone", "xstate_promise",
    "zod4_url",
]  # fmt: skip


def test_ten_programs_give_node_s_answer() -> None:
    try:
        bundles = prepare()
    except Unavailable as why:
        pytest.skip(f"the libraries could not be had: {why}")

    assert [(one.name, one.why) for one in compared(bundles, SLICE) if one.why] == []


def test_there_are_programs_of_every_kind() -> None:
    assert len(list(PROGRAMS.glob("*.js"))) == 67
