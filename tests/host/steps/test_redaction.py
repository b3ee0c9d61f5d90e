"""What a failure tells of the host: its message, and neither where files lie nor where objects are."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.apps import KEY, AppOn, in_loop

from cloche import create_step, create_workflow
from cloche.history import Failure, Kind
from cloche.steps.redaction import redact
from cloche.store import MemoryStore, all_records


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("no such file: '/etc/app/secrets/key.pem'", "no such file: '…/key.pem'"),
        ("(/usr/lib/python3/site-packages/x.py:12)", "(…/x.py:12)"),
        ("in /tmp/, /home/me/a b", "in …/, …/a b"),
        ("<Conn object at 0x7f2a3c4d5e6f>", "<Conn object at 0x…>"),
        ("GET /v1/orders/17 failed", "GET /v1/orders/17 failed"),
        ("see https://example.com/etc/passwd", "see https://example.com/etc/passwd"),
        ("and/or, 0x1f, a/usr/lib", "and/or, 0x1f, a/usr/lib"),
        ("", ""),
    ],
)
def test_paths_of_this_machine_are_cut_to_their_last_part(text: str, told: str) -> None:
    failure = Failure("E", text, {"at": [text]}, Failure("C", text))
    assert redact(failure) == Failure("E", told, {"at": [told]}, Failure("C", told))


@in_loop
async def test_what_a_step_says_of_the_host_does_not_reach_the_guest_and_is_in_the_record_of_the_attempt() -> None:
    def leak(data: object) -> None:
        Path("/etc/no-such-place/master.key").read_text()

    workflow = create_workflow(id="w").then(create_step(id="leak", execute=leak)).commit()
    store = MemoryStore()
    async with AppOn(store, workflows=[workflow]) as app:
        run = await app.start("w", 1, run_id="r1")
        result = await run.result()
        assert result.error is not None
        assert result.error.name == "FileNotFoundError"
        assert "…/master.key" in result.error.message
        for record in await all_records(store, KEY):
            told = record.kind not in (Kind.ATTEMPT_FAILED,)
            assert not (told and (b"no-such-place" in record.body or b"test_redaction" in record.body))
        (attempt,) = [record for record in await all_records(store, KEY) if record.kind is Kind.ATTEMPT_FAILED]
        assert "/etc/no-such-place/master.key" in attempt.content()["traceback"]
        assert "test_redaction.py" in attempt.content()["traceback"]
