"""The guest's C under sanitizers: it does what it does in wasm, and nothing undefined on the way."""

from __future__ import annotations

import struct
from pathlib import Path
from random import Random

import pytest
from fuzz import native
from fuzz.campaign import NATIVE, Native, campaign, read_corpus
from fuzz.seeds import SEEDS, vectors
from guest.cells import Cell
from guest.histories import live
from guest.test_batching import BUSY, busy_history

GOLDEN = sorted((Path(__file__).parents[1] / "codegen" / "golden").glob("*/source.js"))
GIVEN = {"value": 3, "items": [1, 2, 3], "score": 90, "n": 2, "name": "Ada"}


@pytest.fixture(params=["undefined", "address"])
def program(request: pytest.FixtureRequest) -> Path:
    if request.param == "undefined":
        return native.undefined()
    try:
        return native.address()
    except native.NoCompiler as missing:
        pytest.skip(str(missing))


def values_of(program: Path, inputs: list[bytes]) -> list[str]:
    """What comes back of each, in hex or in words, and how many bytes it had."""
    given = b"".join(struct.pack("I", len(data)) + data for data in inputs)
    done = native.run(program, "values", *native.prelude(), given=given)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().splitlines()


def events_of(program: Path, source: Path, batching: str, events: list[bytes]) -> bytes:
    done = native.run(program, "events", str(source), batching, *native.prelude(), given=b"".join(events))
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_every_vector_comes_back_in_its_one_encoding(program: Path) -> None:
    rows = vectors("values")
    expected = [f"{row.get('from_javascript', row['hex'])} {len(row['hex']) // 2}" for row in rows]

    assert values_of(program, [bytes.fromhex(row["hex"]) for row in rows]) == expected


def test_every_hostile_vector_is_refused(program: Path) -> None:
    inputs = [bytes.fromhex(row["hex"]) for row in vectors("hostile")]

    assert set(values_of(program, inputs)) == {"refused 0"}


def test_without_memory_a_value_is_a_fault_wherever_it_runs_out(program: Path) -> None:
    """Every allocation of every round trip is the one that fails, once."""
    inputs = read_corpus("values")[::10]
    given = b"".join(struct.pack("I", len(data)) + data for data in inputs)

    done = native.run(program, "starve", *native.prelude(), given=given)

    assert done.returncode == 0, done.stderr.decode()
    assert sum(map(int, done.stdout.split())) > 1000


@pytest.mark.parametrize("target", NATIVE)
def test_the_corpus_of_the_fuzzer_is_answered_as_the_host_would_answer(program: Path, target: Native) -> None:
    inputs = [*read_corpus(target), *SEEDS[target]()]

    assert campaign(target, inputs, seed=0, runs=0, program=program).runs == len(inputs)


@pytest.mark.parametrize("source", GOLDEN, ids=lambda file: file.parent.name)
def test_histories_of_generated_code_are_answered_as_in_wasm(program: Path, source: Path) -> None:
    check_history(program, source, live(source.read_text(), GIVEN, Random(source.parent.name)))


def test_a_long_history_is_answered_as_in_wasm(program: Path, tmp_path: Path) -> None:
    source = tmp_path / "workflow.js"
    source.write_text(BUSY)

    check_history(program, source, busy_history(300))


def check_history(program: Path, source: Path, events: list[bytes]) -> None:
    expected = Cell(source.read_text()).give(*events)

    assert events_of(program, source, "all", events) == expected
    assert events_of(program, source, "one", events) == expected


@pytest.mark.parametrize(
    ("events", "fault"),
    [
        (b"\x00", 1),
        (b"\x84\x01\x00\x01\xf6", 1),
        (b"\x85\x00\x00\x50" + bytes(16) + b"\xf6\xa0\x84\x01\x00\x07\xf6", 7),
    ],
)
def test_a_fault_is_the_same_as_in_wasm(program: Path, tmp_path: Path, events: bytes, fault: int) -> None:
    source = tmp_path / "workflow.js"
    source.write_text("export default (input) => input")

    assert native.run(program, "events", str(source), "all", *native.prelude(), given=events).returncode == fault


def test_undefined_behaviour_ends_the_program() -> None:
    done = native.run(native.undefined(), "overflow")

    assert done.returncode < 0
    assert b"signed integer overflow" in done.stderr


def test_a_byte_too_many_ends_the_program() -> None:
    try:
        program = native.address()
    except native.NoCompiler as missing:
        pytest.skip(str(missing))

    done = native.run(program, "overrun")

    assert done.returncode < 0
    assert b"heap-buffer-overflow" in done.stderr
