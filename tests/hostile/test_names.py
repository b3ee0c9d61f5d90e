"""Names that mean harm: of runs, events, keys, workflows and tenants; whose they are, and how they are shown."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hostile.platform import ENGINES, LIMITS, Mode, Submitted, echo
from support.apps import AppOn, Journal, ended, in_loop, until
from support.commands import cloche

from cloche import Cloche, create_step, create_workflow
from cloche.engines import Code
from cloche.errors import ClocheError, DeployRefused, ForeignFile, InvalidInput, UsageError
from cloche.history import CallId, RunId, RunKey, TenantId
from cloche.history.ids import CHILD, derived_key, is_name, run_key
from cloche.history.notes import RunCreated
from cloche.operations.export import export_run
from cloche.store import MemoryStore
from cloche.tenancy import Policy
from cloche.text import shown
from cloche.worker.new_runs import NewRuns

UNSEEN = "\u034f\u115f\u2800\u3164\ufe0f\ufff0\U000e0001\U000e0100\u2003\xa0\ufdd0"
WAITS = "export default async function workflow(input) { return cloche.child('c', 'slow', input); }"
RISK = "export default async function workflow(input) { return cloche.child('c', 'risk', input); }"


def app_on(mode: Mode, store: MemoryStore | None = None, **options: Any) -> AppOn:
    engine = options.pop("engine", None) or ENGINES[mode](LIMITS["javascript"])
    options.setdefault("policy", Policy())  # what is tried here is names
    return AppOn(store or MemoryStore(), tenant="mallory", engine=engine, **options)


def key(run: str) -> RunKey:
    return RunKey(TenantId("mallory"), RunId(run))


slow = create_workflow(id="slow").wait_for_event("go on").commit()
other = create_workflow(id="other").then(echo).commit()


# ---- children --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", ["r1\x1fc1", "r1 › 1", "r1 › s2 › 3", "r1\x1fs1"])
def test_no_caller_gives_the_id_of_a_child(mode: Mode, id: str) -> None:
    @in_loop
    async def live() -> None:
        async with app_on(mode, workflows=[other]) as app:
            with pytest.raises(UsageError):
                await app.start("other", 1, run_id=id)

    live()


def test_a_plain_id_is_never_taken_for_a_child(mode: Mode) -> None:
    """`r1.1` was that of the first child of `r1`."""

    @in_loop
    async def live() -> None:
        async with app_on(mode, workflows=[slow, other]) as app:
            await (await app.start("other", "a stranger's", run_id="r1.1")).result()
            waiting = await app.start("slow", 1, run_id="r2.1")
            await app.deploy("mallory", WAITS, workflow="w", language="javascript")
            for run in ("r1", "r2"):
                await app.start("w", 1, run_id=run)
                child = derived_key(key(run), CHILD, CallId(1))
                await until(partial(app.store.run, child))
            await app.send_event("r1 › 1", "go on", "its own")
            assert await ended(await app.get("r1")) == ("success", "its own")
            await app.cancel("r2")
            assert await waiting.status() == "waiting"
            await waiting.cancel()

    live()


def test_a_parent_of_an_older_release_keeps_its_ids(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    made = NewRuns.created

    def created(self: NewRuns, code: Code, policy: Policy, **more: Any) -> RunCreated:
        return replace(made(self, code, policy, **more), derived_ids=False, parent={})

    monkeypatch.setattr(NewRuns, "created", created)

    @in_loop
    async def live() -> None:
        async with app_on(mode, workflows=[slow]) as app:
            await app.deploy("mallory", WAITS, workflow="w", language="javascript")
            await app.start("w", 1, run_id="r1")
            monkeypatch.undo()
            await until(lambda: app.store.run(key("r1.1")))
            await app.send_event("r1.1", "go on", "its own")
            assert await ended(await app.get("r1")) == ("success", "its own")

    live()


def test_a_run_that_another_call_has_begun_is_no_child(mode: Mode) -> None:
    """A file may hold a run of any id, if its records say that it is that of its parent's call."""

    @in_loop
    async def live() -> None:
        store = MemoryStore()
        async with app_on(mode, store, workflows=[slow]) as app:
            await app.deploy("mallory", WAITS, workflow="w", language="javascript")
            await app.start("w", 1, run_id="r1")
            child = derived_key(key("r1"), CHILD, CallId(1))
            await until(lambda: app.store.run(child))
            exported = await export_run(store, child)
        elsewhere = MemoryStore()
        async with app_on(mode, elsewhere, workflows=[slow]) as app:
            await app.import_(exported)
            row = elsewhere._data.rows.pop(child)
            stranger = key("r9\x1fc1")
            elsewhere._data.rows[stranger] = replace(row, key=stranger)
            elsewhere._data.records[stranger] = elsewhere._data.records.pop(child)
            await app.deploy("mallory", WAITS, workflow="w", language="javascript")
            run = await app.start("w", 1, run_id="r9")
            result = await run.result()
            assert result.error is not None
            assert (result.error.name, "r9 › 1 is there" in result.error.message) == ("RunConflict", True)

    live()


# ---- workflows -------------------------------------------------------------------------------------------------------


class OfAttack(Submitted):
    """Code of the host that starts a child, in place of the workflow "attack"."""

    def _submitted(self, code: Code) -> Code:
        return super()._submitted(code) if code.workflow == "attack" else code


def test_a_child_is_the_one_that_the_calling_code_means(mode: Mode) -> None:
    """The host's code means the host's workflow; a tenant's code its own, and the host's where it has none."""

    @in_loop
    async def live() -> None:
        attack = create_workflow(id="attack").then(echo).commit()
        risk = create_workflow(id="risk").map({"of": {"value": "the host"}}).commit()
        engine = OfAttack(ENGINES[mode](LIMITS["javascript"]), RISK)
        async with app_on(mode, engine=engine, workflows=[attack, risk]) as app:
            await app.deploy("mallory", RISK, workflow="w", language="javascript")
            assert await ended(await app.start("w", 1)) == ("success", {"of": "the host"})
            mine = "export default async () => 'the tenant';"
            await app.deploy("mallory", mine, workflow="risk", language="javascript")
            assert await ended(await app.start("w", 1)) == ("success", "the tenant")
            assert await ended(await app.start(attack, 1)) == ("success", {"of": "the host"})

    live()


def test_imported_code_is_its_tenants(mode: Mode) -> None:
    """A file said nothing of an owner, and its code passed for the host's."""

    @in_loop
    async def live() -> None:
        told, journal, store = list[Any](), Journal(), MemoryStore()
        theirs = create_workflow(id="w").then(journal.take()).then(journal.inc()).wait_for_event("go").commit()
        async with app_on(mode, store, workflows=[theirs]) as app:
            run = await app.start("w", {"v": 1}, run_id="r1")
            await until(lambda: run.status(), lambda status: status == "waiting")
            exported = await app.export("r1")
        ours = create_workflow(id="w").then(journal.take()).commit()
        for workflow, steps, expected in ((ours, [*theirs.steps.values()][1:], 0), (theirs, [], 1)):
            workflow.on_finish = told.append
            async with app_on(mode, workflows=[workflow], steps=steps) as app:
                run = await app.import_(exported)
                await app.send_event("r1", "go", 1)
                await run.result()
                assert len(told) == expected

    live()


def test_imported_functions_do_not_run_on_the_host(mode: Mode) -> None:
    held = Journal()
    attack = create_workflow(id="w", mode="host-closures").map(lambda data: len(held.began)).commit()

    @in_loop
    async def live() -> None:
        async with app_on(mode, workflows=[attack], policy=Policy(host_closures=True)) as app:
            await (await app.start("w", 1, run_id="r1")).result()
            exported = await app.export("r1")
        async with app_on(mode) as app:
            with pytest.raises(ForeignFile, match="functions that run on the host"):
                await app.import_(exported)

    live()


# ---- texts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("character", list(UNSEEN), ids=[f"U+{ord(c):04X}" for c in UNSEEN])
def test_what_does_not_show_is_in_no_name(mode: Mode, character: str) -> None:
    name = f"a{character}b"
    assert not is_name(name)

    @in_loop
    async def live() -> None:
        async with app_on(mode, workflows=[slow]) as app:
            with pytest.raises(UsageError):
                await app.start("slow", 1, run_id=name)
            await app.start("slow", 1, run_id="r1")
            with pytest.raises(InvalidInput):
                await app.send_event("r1", name, 1)
            await app.cancel("r1")

    live()
    with pytest.raises(Exception, match="not allowed"):
        create_workflow(id="w").then(create_step(id=name, execute=lambda data: data)).commit()


@pytest.mark.parametrize("bad", ["", "k" * 201, "k" * (20 << 20), "k\x1b[2J", "\ud800", "k\u200b"], ids=range(6))
def test_an_idempotency_key_is_a_name(mode: Mode, bad: str) -> None:
    asks: dict[str, Any] = {"send_event": ("r1", "go on"), "resume": ("r1",), "request_resume": ("r1",)}

    @in_loop
    async def live() -> None:
        async with app_on(mode, workflows=[slow]) as app:
            await app.start("slow", 1, run_id="r1")
            for ask, arguments in asks.items():
                with pytest.raises(InvalidInput, match="idempotency key") as refused:
                    await getattr(app, ask)(*arguments, idempotency_key=bad)
                assert len(refused.value.message) < 1_000
            await app.cancel("r1")

    live()


def test_an_error_s_text_is_for_people(mode: Mode) -> None:
    @in_loop
    async def live() -> None:
        async with app_on(mode) as app:
            for source in ("throw new Error('\x1b[2Jowned\u202e')", "const \x1b]0;x\x07 = 1"):
                with pytest.raises(DeployRefused) as refused:
                    await app.deploy("mallory", source, workflow="w", language="javascript")
                assert shown(refused.value.message, lines=True) == refused.value.message == str(refused.value)

    live()
    assert ClocheError("a\x1b[2J\nb").message == "a\\x1b[2J\nb"


def test_no_id_speaks_to_mermaid() -> None:
    id = "a%%{init: {'theme': 'dark'}}%%b"
    drawn = create_workflow(id="w").then(create_step(id=id, execute=lambda data: data)).commit().to_mermaid()
    assert "%%" not in drawn
    assert (
        "50% of 7 % 3"
        in create_workflow(id="w").then(create_step(id="50% of 7 % 3", execute=id.join)).commit().to_mermaid()
    )


def test_an_integer_of_many_digits_is_shown(tmp_path: Path) -> None:
    large = create_step(id="large", execute=lambda data: {"n": 10**5_000, "nan": float("nan")})

    @in_loop
    async def live() -> None:
        async with Cloche(tmp_path / "s.db", workflows=[create_workflow(id="w").then(large).commit()]) as app:
            await (await app.start("w", 1, run_id="r1")).result()

    live()
    for command in (("show", "r1"), ("log", "r1"), ("show", "r1", "--json"), ("log", "r1", "--json")):
        ran = cloche(*command, "--store", str(tmp_path / "s.db"))
        assert (ran.code, "0x" in ran.out) == (0, True), ran.err
    assert json.loads(cloche("show", "r1", "--json", "--store", str(tmp_path / "s.db")).out)


def test_a_child_is_shown_as_it_may_be_written() -> None:
    stored = derived_key(derived_key(key("order-17"), CHILD, CallId(3)), "s", CallId(12))
    assert shown(stored.run) == "order-17 › 3 › s12"
    assert run_key(shown(stored.run), "mallory") == run_key(stored.run, "mallory") == stored
    assert (str(stored), stored.token) == ("order-17 › 3 › s12 of tenant mallory", "mallory:order-17%1Fc3%1Fs12")
