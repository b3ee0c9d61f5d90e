"""Failures of bundles have the place in their author's file, by the bundle's source map; a hostile map is none."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.apps import AppOn, in_loop

from cloche import RunFailed
from cloche.errors import DeployRefused
from cloche.run.source_maps import MAP_BYTES_MAX, MAPPINGS_CHARS_MAX, SourceMap, places_in, with_map_beside
from cloche.store import MemoryStore

DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
Segment = tuple[int, int, int, int]  # column of the bundle, source, line and column there, from 0


def vlq(number: int) -> str:
    rest, text = (-number << 1) | 1 if number < 0 else number << 1, ""
    while True:
        rest, digit = rest >> 5, rest & 31
        text += DIGITS[digit | (32 if rest else 0)]
        if not rest:
            return text


def mappings(lines: list[list[Segment]]) -> str:
    source, line, column, made = 0, 0, 0, []
    for segments in lines:
        at, texts = 0, []
        for one in segments:
            texts.append(vlq(one[0] - at) + vlq(one[1] - source) + vlq(one[2] - line) + vlq(one[3] - column))
            at, source, line, column = one
        made.append(",".join(texts))
    return ";".join(made)


def inlined(code: str, data: Any) -> str:
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    return f"{code}\n//# sourceMappingURL=data:application/json;charset=utf-8;base64,{b64encode(text).decode()}\n"


def a_map(
    lines: list[list[Segment]], sources: tuple[str, ...] = ("src/orders.ts", "src/pay.ts"), **more: Any
) -> dict[str, Any]:
    return {"version": 3, "sources": list(sources), "names": [], "mappings": mappings(lines), **more}


# Line 1 is from pay.ts, line 12, and line 3 from orders.ts, line 41.
BUNDLE = """const pay = () => { throw new TypeError("no card") };
export default async function order(given) {
  if (given !== "later") pay();
}"""
BUNDLED = a_map([[(0, 1, 11, 0), (20, 1, 11, 4)], [(0, 0, 39, 0)], [(2, 0, 40, 2), (25, 0, 40, 30)]])


@in_loop
async def test_a_failure_shows_its_authors_files_lines_and_columns() -> None:
    async with AppOn(MemoryStore(), handle_sigterm=False) as app:
        await app.deploy("acme", inlined(BUNDLE, BUNDLED), workflow="order", language="javascript")
        run = await app.tenant("acme").start("order", None)
        result = await run.result()
        records = await run.history()
        [shown] = [text for record in records if (text := await run.traceback_of(record)) is not None]
    assert result.error is not None
    wanted = "TypeError: no card\n    at pay (src/pay.ts:12:5)\n    at order (src/orders.ts:41:31)\n"
    assert (result.error.traceback, shown) == (wanted, wanted)
    assert [frame.line for frame in result.error.trace] == [3, 1]  # as it is recorded: places of the bundle
    with pytest.raises(RunFailed) as raised:
        result.unwrap()
    assert wanted in raised.value.__cause__.__notes__  # type: ignore[union-attr]


@in_loop
async def test_without_a_map_it_shows_the_places_of_the_bundle() -> None:
    async with AppOn(MemoryStore(), handle_sigterm=False) as app:
        await app.deploy("acme", BUNDLE, workflow="order", language="javascript")
        error = (await (await app.tenant("acme").start("order", None)).result()).error
    assert error is not None
    assert error.traceback is not None
    assert "at pay (workflow.js:1:" in error.traceback


@in_loop
async def test_a_bundle_that_does_not_load_says_where_that_was_written() -> None:
    code = inlined(BUNDLE.replace("export default", "pay();export default"), BUNDLED)
    async with AppOn(MemoryStore(), handle_sigterm=False) as app:
        with pytest.raises(
            DeployRefused, match=r"src/pay\.ts:12:5: TypeError: no card|src/pay\.ts:12:5: .*no card"
        ) as refused:
            await app.deploy("acme", code, workflow="order", language="javascript")
    assert (refused.value.facts["line"], refused.value.facts["place"]) == (1, "src/pay.ts:12:5")


@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 90), st.integers(0, 1), st.integers(0, 9999), st.integers(0, 200)), max_size=6
        )
    )
)
def test_every_segment_is_found_at_its_column(lines: list[list[Segment]]) -> None:
    lines = [sorted({segment[0]: segment for segment in segments}.values()) for segments in lines]
    found = SourceMap.read(json.dumps(a_map(lines)))
    assert found is not None
    wanted = {(number, one[0] + 1): one for number, segments in enumerate(lines, 1) for one in segments}
    names = ("src/orders.ts", "src/pay.ts")
    assert found.places(list(wanted)) == {
        at: (names[source], line + 1, column + 1) for at, (_, source, line, column) in wanted.items()
    }


def test_a_place_between_two_segments_is_that_of_the_first_and_one_before_all_is_none() -> None:
    assert places_in(inlined(BUNDLE, BUNDLED), [(3, 1), (3, 3), (3, 24), (3, 99), (9, 1)]) == {
        (3, 3): ("src/orders.ts", 41, 3), (3, 24): ("src/orders.ts", 41, 3), (3, 99): ("src/orders.ts", 41, 31),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("source", "root", "shown"),
    [
        ("webpack://shop/./src/a.ts", "", "shop/./src/a.ts"), ("a.ts", "lib", "lib/a.ts"), ("a.ts", "lib/", "lib/a.ts"),
        ("x" * 900, "", "…" + "x" * 300),
    ],
)  # fmt: skip
def test_names_of_files_are_those_that_a_person_reads(source: str, root: str, shown: str) -> None:
    code = inlined("", a_map([[(0, 0, 0, 0)]], (source,), sourceRoot=root))
    assert places_in(code, [(1, 1)]) == {(1, 1): (shown, 1, 1)}


OK = a_map([[(0, 0, 0, 0)]])


def section(line: int, column: int, mappings: str = "AAAA", source: str = "src/orders.ts") -> dict[str, Any]:
    return {"offset": {"line": line, "column": column}, "map": {**OK, "sources": [source], "mappings": mappings}}


def index(*sections: dict[str, Any]) -> dict[str, Any]:
    return {"version": 3, "sections": list(sections)}


def test_a_map_of_several_sections_has_each_for_what_follows_its_offset() -> None:
    made = index(section(1, 4, source="a.ts"), section(1, 9, "AAAA;AACA", source="b.ts"))
    assert places_in(inlined("", made), [(1, 1), (2, 4), (2, 5), (2, 9), (2, 10), (3, 1), (4, 1)]) == {
        (2, 5): ("a.ts", 1, 1), (2, 9): ("a.ts", 1, 1), (2, 10): ("b.ts", 1, 1), (3, 1): ("b.ts", 2, 1),
    }  # fmt: skip


REJECTED = """export default async function order() {
  (async () => { throw new TypeError("lost") })();
  return 1;
}"""


@in_loop
async def test_a_rejection_in_the_log_shows_its_authors_file() -> None:
    mapped = a_map([[(0, 0, 0, 0)], [(2, 1, 6, 2)]])
    async with AppOn(MemoryStore(), handle_sigterm=False) as app:
        await app.deploy("acme", inlined(REJECTED, mapped), workflow="order", language="javascript")
        run = await app.tenant("acme").start("order", None)
        await run.result()
        shown = [text for record in await run.history() if (text := await run.traceback_of(record)) is not None]
    assert shown == ["    at src/pay.ts:7:3\n"]


NO_MAPS: dict[str, Any] = {
    "nothing": b"", "a list": b"[]", "no JSON": b"{", "no text": b"\xff\xfe", "deep lists": b"[" * 100_000,
    "deep maps": b'{"version":' * 50_000, "an old version": {**OK, "version": 2}, "no sources": {**OK, "sources": None},
    "a source that is a number": {**OK, "sources": [5]}, "mappings that are a number": {**OK, "mappings": 7},
    "one number": {**OK, "mappings": "A"}, "two numbers": {**OK, "mappings": "AA"}, "no digit": {**OK, "mappings": "?AAA"},
    "no ASCII": {**OK, "mappings": "é"}, "a number without end": {**OK, "mappings": "g" * 1000},
    "a number that is cut": {**OK, "mappings": "AACA,AAAAg"}, "a source that is not there": {**OK, "mappings": "AEAA"},
    "a line before the first": {**OK, "mappings": "AADA"}, "a column before the first": {**OK, "mappings": "AAAD"},
    "lines alone": {**OK, "mappings": ";" * 1_000_000}, "a root that is a number": {**OK, "sourceRoot": 5},
    "too many mappings": {**OK, "mappings": "AAAA," * (MAPPINGS_CHARS_MAX // 5 + 1)},
    "too large": {**OK, "sourcesContent": ["x" * MAP_BYTES_MAX]},
    "sections that are a number": {"version": 3, "sections": 5}, "a section that is none": {"version": 3, "sections": [5]},
    "a section without a place": {"version": 3, "sections": [{"map": OK}]},
    "sections out of order": {"version": 3, "sections": [section(1, 0), section(0, 0)]},
    "sections in a section": {"version": 3, "sections": [{"offset": {"line": 0, "column": 0}, "map": index(section(0, 0))}]},
    "too many mappings in all": {"version": 3, "sections": [section(0, n, "AAAA," * 110_000) for n in range(2)]},
}  # fmt: skip


@pytest.mark.parametrize("what", NO_MAPS)
def test_what_is_no_map_leaves_the_places_of_the_bundle(what: str) -> None:
    assert places_in(inlined("", NO_MAPS[what]), [(1, 1), (2, 1), (10**9, 10**9)]) == {}


@pytest.mark.parametrize(
    "url",
    ["data:application/json;base64,?", "data:,{", "data:", "http://x/a.map", "a.map", "data:application/json,%7B"],
)
def test_an_address_that_holds_no_map_is_none(url: str) -> None:
    assert places_in(f"\n//# sourceMappingURL={url}", [(1, 1)]) == {}


def test_a_map_may_be_written_as_it_is() -> None:
    code = "\n//# sourceMappingURL=data:application/json," + json.dumps(OK).replace(" ", "%20")
    assert places_in(code, [(1, 1)]) == {(1, 1): ("src/orders.ts", 1, 1)}


# ---- a map in a file of its own --------------------------------------------------------------------------------------

NAMING = "code()\n//# sourceMappingURL=out.js.map\n"


def test_a_map_beside_the_file_is_put_into_it(tmp_path: Path) -> None:
    (tmp_path / "out.js.map").write_text(json.dumps({**OK, "sourcesContent": ["secret"]}))
    code, why = with_map_beside(NAMING, tmp_path / "out.js", 1 << 20)
    assert why is None
    assert places_in(code, [(1, 1)]) == {(1, 1): ("src/orders.ts", 1, 1)}
    assert code.startswith("code()\n//# sourceMappingURL=data:")
    assert b64encode(b"secret").decode()[:6] not in code


def test_one_of_several_sections_is_put_into_it_too(tmp_path: Path) -> None:
    (tmp_path / "out.js.map").write_text(json.dumps(index(section(0, 0))))
    code, _ = with_map_beside(NAMING, tmp_path / "out.js", 1 << 20)
    assert places_in(code, [(1, 1)]) == {(1, 1): ("src/orders.ts", 1, 1)}


@pytest.mark.parametrize(
    "name", ["../out.js.map", "/out.js.map", "http://x/out.js.map", "..\\out.js.map", "missing.map"]
)
def test_a_file_elsewhere_is_not_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "out.js.map").write_text(json.dumps(OK))
    (tmp_path / "inner").mkdir()
    code = NAMING.replace("out.js.map", name)
    assert with_map_beside(code, tmp_path / "inner" / "out.js", 1 << 20) == (code, None)


def test_one_that_is_too_large_or_none_is_left_out_and_told(tmp_path: Path) -> None:
    (tmp_path / "out.js.map").write_text(json.dumps(OK))
    code, why = with_map_beside(NAMING, tmp_path / "out.js", 100)
    assert code == NAMING
    assert why is not None
    assert "the policy allows 100 (source_bytes)" in why
    (tmp_path / "out.js.map").write_text("no map")
    code, why = with_map_beside(NAMING, tmp_path / "out.js", 1 << 20)
    assert code == NAMING
    assert why is not None
    assert "it is no source map" in why
