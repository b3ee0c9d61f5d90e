"""Any workflow, any history: memory and output follow from the events alone, wherever the history is cut."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

import pytest
from guest.cells import Cell
from guest.histories import cuts, live
from hypothesis import given, settings
from hypothesis import strategies as st

TESTS = Path(__file__).parents[1]
INTERPRETER = (TESTS / "fuzz" / "native" / "interpreter.js").read_text()
GOLDEN = sorted((TESTS / "codegen" / "golden").glob("*/source.js"))

# Inputs that are programs, see interpreter.js.
texts = st.sampled_from(["a", "b", "W/c"])
data = st.sampled_from([None, 1, 2.5, "text", b"bytes", [1, 2], {"k": [True]}, 2**70])
deeds = st.one_of(
    st.tuples(st.just(1), texts, data),
    st.tuples(st.just(2), texts, st.integers(0, 1000), data),
    st.tuples(st.sampled_from([4, 5]), texts, texts, data),
    st.tuples(st.just(6), texts, texts, st.lists(data, max_size=2)),
    st.tuples(st.sampled_from([14, 15]), texts, data, st.integers(0, 1)),
    st.tuples(st.just(13), texts, data, st.just({"extra": 1})),
    st.tuples(st.sampled_from([16, 17, 18, 19, 20]), st.integers(0, 70000), st.integers(0, 9)),
)
programs = st.recursive(
    deeds,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from([7, 8, 9, 10]), st.lists(inner, min_size=1, max_size=5)),
        st.tuples(st.sampled_from([11, 12]), inner),
    ),
    max_leaves=12,
)


def digest(cell: Cell) -> bytes:
    """The state hash."""
    return blake2b(cell.state(), digest_size=32).digest()


def as_json(program: Any) -> Any:
    return [as_json(item) for item in program] if isinstance(program, list | tuple) else program


def followed(source: str, events: list[bytes]) -> list[tuple[bytes, bytes]]:
    """Output and state hash after each event of a live run."""
    cell = Cell(source)
    return [(cell.give(event), digest(cell)) for event in events]


def check_every_cut(source: str, events: list[bytes]) -> None:
    """A replay of any beginning stands where the live run stood, and goes on as it did."""
    lived = followed(source, events)
    for cut in range(1, len(events) + 1):
        replayed = Cell(source)
        assert replayed.give(*events[:cut]) == b"".join(output for output, _ in lived[:cut])
        assert digest(replayed) == lived[cut - 1][1]
        if cut < len(events):
            assert replayed.give(events[cut]) == lived[cut][0]
            assert digest(replayed) == lived[cut][1]


@given(programs, st.randoms(use_true_random=False), st.lists(st.integers(1, 6), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_any_batching_of_any_workflow_leaves_the_same_memory(program: Any, random: Random, sizes: list[int]) -> None:
    events = live(INTERPRETER, as_json(program), random)
    lived = followed(INTERPRETER, events)
    batched = Cell(INTERPRETER)

    assert b"".join(batched.give(*batch) for batch in cuts(events, sizes)) == b"".join(output for output, _ in lived)
    assert digest(batched) == lived[-1][1]


@given(programs, st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_any_cut_of_any_history_gives_the_same_run(program: Any, random: Random) -> None:
    check_every_cut(INTERPRETER, live(INTERPRETER, as_json(program), random, events_max=15))


@pytest.mark.parametrize("source", GOLDEN, ids=lambda file: file.parent.name)
def test_any_cut_of_a_history_of_generated_code_gives_the_same_run(source: Path) -> None:
    random = Random(source.parent.name)
    given_input = {"value": 3, "items": [1, 2, 3], "score": 90, "n": 2, "name": "Ada"}

    check_every_cut(source.read_text(), live(source.read_text(), given_input, random, events_max=20))
