"""What is a name: one definition, in the host and in codegen, and a wider one for what old stores hold."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.apps import AppOn, in_loop
from support.stores import key

from cloche import create_step, create_workflow
from cloche.errors import MalformedOutput, UsageError
from cloche.history import ids
from cloche.history.messages import CallStep
from cloche.history.output import unpack_command
from cloche.history.records import Record, genesis, make_record
from cloche.history.values import encode
from cloche.run.code import load_code
from cloche.store import Append, MemoryStore, NewRun, all_records, blob_digest
from cloche_codegen import names

OLD = "\uffff"  # was allowed in names, and is no character


def test_a_name_is_the_same_in_host_and_codegen() -> None:
    assert ids.NOT_IN_NAMES.pattern == names.NOT_IN_NAMES.pattern
    assert ids.NAME_SIZE_MAX == names.NAME_SIZE_MAX


def test_the_guest_of_javascript_knows_the_same_names() -> None:
    source = (Path(__file__).parents[3] / "guest/js/prelude/words.js").read_text("utf-8")
    [pattern] = re.findall(r"const NOT_IN_NAMES = /(.*)/u;", source)
    wide = re.sub(r"\\u\{(\w+)\}", lambda found: f"\\U{int(found[1], 16):08x}", pattern)
    assert wide == ids.NOT_IN_NAMES.pattern


@given(st.text(max_size=5) | st.text(st.sampled_from("a é\u0301\u200b\ufffe\uffff\x7f\t\xa0"), max_size=201))
@example("a" * 200)
@example("a" * 201)
@example("ä" * 200)
def test_both_say_the_same_of_any_text(text: str) -> None:
    assert ids.is_name(text) is (names.flaw_of(text) is None)


@pytest.mark.parametrize("character", ["\ufffe", "\uffff", "\ufe0f", "\u3164", "\U000e0041"])
def test_an_old_name_is_read_and_not_given(character: str) -> None:
    name = f"pay{character}"
    body = encode([0, 1, "pay", name, []])
    assert not ids.is_name(name)
    assert ids.was_name(name)
    assert unpack_command(body) == CallStep(ids.CallId(1), ids.Path("pay"), name, [])
    with pytest.raises(MalformedOutput, match="name is not 1 to 200 characters that show"):
        unpack_command(body, is_new=True)
    assert ids.run_key(name, name) == ids.RunKey(ids.TenantId(name), ids.RunId(name))
    with pytest.raises(UsageError):
        ids.new_run_key(name, "default")
    with pytest.raises(UsageError):
        ids.new_run_key("r1", name)


def as_it_was(records: list[Record], codes: tuple[str, str]) -> list[Record]:
    """The records of a run of step "pay", as those of a run and a step that are named U+FFFF."""
    made: list[Record] = []
    for record in records:
        previous = made[-1].hash if made else genesis(key(OLD))
        path = None if record.path is None else ids.Path(record.path.replace("pay", OLD))
        body = record.body.replace(b"pay", OLD.encode()).replace(codes[0].encode(), codes[1].encode())  # as many bytes
        made.append(make_record(previous, record.seq, record.kind, record.time, record.call, path, body))
    return made


@in_loop
async def test_a_run_with_an_old_name_still_opens() -> None:
    store = MemoryStore()
    workflow = create_workflow(id="w").then(create_step(id="pay", execute=lambda data: data)).commit()
    async with AppOn(store, workflows=[workflow]) as app:
        await (await app.start(workflow, 1, run_id="r1")).result()
    row = await store.run(key("r1"))
    assert row is not None
    old = replace(
        await load_code(store, row.code), source=(await load_code(store, row.code)).source.replace('"pay"', '"\\uffff"')
    )
    digest = blob_digest(old.pack())
    records = as_it_was(await all_records(store, key("r1")), (row.code, digest))
    new = NewRun("w", digest, {digest: old.pack()})
    append = Append(key(OLD), ids.Seq(0), records, row.status, row.wake_at, records[-1].time, new)
    assert await store.commit([append]) == [None]

    async with AppOn(store, workflows=[workflow]) as app:
        assert (await (await app.get(OLD)).result()).result == 1
        assert (await app.verify(OLD)).ok
        assert (await app.replay(OLD)).ok
        with pytest.raises(UsageError):
            await app.start(workflow, 1, run_id=OLD)
