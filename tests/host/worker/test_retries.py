"""Going on from where a run failed: what completed is not run again, and no key is charged twice. On every store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.apps import AppOn, Journal, in_loop, one_loop, run_in_loop, until
from support.stores_of_all_kinds import STORES

from cloche import Client, Cloche, StepContext, Workflow, create_step, create_workflow, workflow
from cloche.errors import Divergence, NotFound, UsageError
from cloche.history import Kind
from cloche.store import MemoryStore, Store, all_records


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with one_loop(), STORES[request.param](tmp_path, run_in_loop) as made:
        yield made
        run_in_loop(made.close())


class Provider:
    """Takes payments: each key once, whoever asks again with it is given what was said then."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.charged: dict[str, int] = {}
        self.is_down_after_charging = True

    def charge(self, key: str, amount: int) -> int:
        self.asked[key] += 1
        self.charged.setdefault(key, amount)
        if self.is_down_after_charging:  # the money is taken, and the answer is lost
            raise ConnectionError("the provider went away")
        return self.charged[key]


def paying(journal: Journal, provider: Provider, id: str = "order") -> Workflow:
    charge = journal.acts("charge", lambda data, ctx: {"v": provider.charge(ctx.idempotency_key, data["v"])})
    return create_workflow(id=id).then(journal.inc()).then(charge).then(journal.dbl()).commit()


@in_loop
async def test_a_step_that_charged_and_then_failed_is_called_again_under_its_old_key(
    store: Store, journal: Journal
) -> None:
    provider = Provider()
    flow = paying(journal, provider)
    async with AppOn(store, workflows=[flow]) as app:
        for number in range(3):
            run = await app.start(flow, {"v": number}, run_id=f"o{number}")
            assert (await run.result()).status == "failed"
            again = await app.retry(run.id)
            assert (await again.result()).status == "failed"  # it is still down
        provider.is_down_after_charging = False
        last = [await app.retry(f"o{number} › r1") for number in range(3)]
        assert [(await run.result()).unwrap() for run in last] == [{"v": 2}, {"v": 4}, {"v": 6}]
    assert set(provider.asked.values()) == {3}  # three keys, each asked for by three runs
    assert provider.charged == {f"default:o{number}:2": number + 1 for number in range(3)}
    assert Counter(path for _, path in journal.calls) == {"inc": 3, "charge": 9, "dbl": 3}


@in_loop
async def test_the_old_run_stays_as_it_is_and_both_name_each_other(store: Store, journal: Journal) -> None:
    flow = create_workflow(id="w").then(journal.boom()).commit()
    async with AppOn(store, workflows=[flow]) as app:
        old = await app.start(flow, {"v": 1}, run_id="r1", tags={"customer": "c-1"})
        before = (await old.result()).status, await old.history()
        first = await app.retry("r1")
        await first.result()
        second = await app.retry(first.id)
        await second.result()
        assert ((await old.result()).status, await old.history()) == before
        assert [run.id for run in (first, second)] == ["r1\x1fr1", "r1\x1fr2"]
        created = (await second.history())[0].content()
        assert created["retry_of"] == {"run": "r1\x1fr1", "first": "r1", "keys": [[1, "r1"]]}
        assert created["tags"] == {"customer": "c-1"}
        assert [one.run for one in await store.retries(old._key)] == ["r1\x1fr1"]
        assert (await app.verify()).ok


@in_loop
async def test_retrying_twice_is_retrying_once(store: Store, journal: Journal) -> None:
    flow = create_workflow(id="w").then(journal.boom()).commit()
    async with AppOn(store, workflows=[flow]) as app:
        await (await app.start(flow, {"v": 1}, run_id="r1")).result()
        first = await app.retry("r1")
        await first.result()
        assert (await app.retry("r1")).id == first.id
        assert [row.key.run for row in await store.runs()] == [first.id, "r1"]


@in_loop
async def test_arms_that_completed_beside_the_failure_are_not_run_again(journal: Journal) -> None:
    is_down = [True]

    def fails(data: Any) -> Any:
        if is_down[0]:
            raise ValueError("down")
        return data

    def late(data: Any) -> Any:
        return {"v": 10}

    arms = [journal.step("fails", fails), journal.step("late", late)]
    flow = create_workflow(id="w").then(journal.inc()).parallel(arms).commit()
    async with AppOn(MemoryStore(), workflows=[flow]) as app:
        run = await app.start(flow, {"v": 1}, run_id="r1")
        await run.result()
        await until(lambda: app.is_idle)
        is_down[0] = False
        again = await app.retry("r1")
        assert (await again.result()).unwrap() == {"fails": {"v": 2}, "late": {"v": 10}}
        assert Counter(path for _, path in journal.calls) == {"inc": 1, "fails": 2, "late": 1}


@in_loop
async def test_both_arms_that_failed_are_called_again(journal: Journal) -> None:
    is_down = [True]

    def fails(data: Any) -> Any:
        if is_down[0]:
            raise ValueError("down")
        return data

    flow = create_workflow(id="w").parallel([journal.step("a", fails), journal.step("b", fails)]).commit()
    async with AppOn(MemoryStore(), workflows=[flow]) as app:
        await (await app.start(flow, {"v": 1}, run_id="r1")).result()
        await until(lambda: app.is_idle)
        is_down[0] = False
        assert (await (await app.retry("r1")).result()).unwrap() == {"a": {"v": 1}, "b": {"v": 1}}


@in_loop
async def test_a_canceled_run_goes_on_from_where_it_was_canceled(journal: Journal) -> None:
    flow = create_workflow(id="w").then(journal.inc()).then(journal.ask()).then(journal.dbl()).commit()
    async with AppOn(MemoryStore(), workflows=[flow]) as app:
        run = await app.start(flow, {"v": 1}, run_id="r1")
        await run.result()
        await run.cancel()
        assert (await run.result(final=True)).status == "canceled"
        again = await app.retry("r1")
        assert (await again.result()).status == "suspended"
        assert (await again.resume(resume_data={"add": 1})).unwrap() == {"v": 6}
        assert journal.began.count("inc") == 1


@in_loop
async def test_a_step_that_failed_after_it_was_resumed_is_called_again_with_its_data(journal: Journal) -> None:
    is_down, given = [True], list[Any]()

    def ask(data: Any, ctx: StepContext) -> Any:
        if ctx.resume_data is None:
            ctx.suspend({"ask": 1})
        given.append(ctx.resume_data)
        if is_down[0]:
            raise ValueError("down")
        return data

    flow = create_workflow(id="w").then(journal.acts("ask", ask)).commit()
    async with AppOn(MemoryStore(), workflows=[flow]) as app:
        run = await app.start(flow, {"v": 1}, run_id="r1")
        await run.result()
        assert (await run.resume(resume_data={"ok": True})).status == "failed"
        is_down[0] = False
        assert (await (await app.retry("r1")).result()).unwrap() == {"v": 1}
        assert given == [{"ok": True}, {"ok": True}]
        assert journal.began == ["ask", "ask", "ask"]


@in_loop
async def test_a_child_that_failed_goes_on_too(journal: Journal) -> None:
    provider = Provider()
    inner = paying(journal, provider, "inner")

    @workflow(id="outer")
    async def outer(data: dict[str, int]) -> Any:
        from cloche import start_child

        return await start_child("inner", data)

    async with AppOn(MemoryStore(), workflows=[inner, outer]) as app:
        run = await app.start(outer, {"v": 1}, run_id="r1")
        assert (await run.result()).status == "failed"
        provider.is_down_after_charging = False
        assert (await (await app.retry("r1")).result()).unwrap() == {"v": 4}
    assert journal.began.count("inc") == 1
    assert len(provider.charged) == 1


@in_loop
async def test_what_succeeded_or_goes_on_is_not_retried(journal: Journal) -> None:
    flow = create_workflow(id="w").then(journal.ask()).commit()
    async with AppOn(MemoryStore(), workflows=[flow]) as app:
        run = await app.start(flow, {"v": 1}, run_id="r1")
        await run.result()
        with pytest.raises(UsageError, match="run r1 is suspended: only a run that failed or was canceled is retried"):
            await app.retry("r1")
        await run.resume(resume_data={"add": 1})
        with pytest.raises(UsageError, match=r"run r1 is success.*fork it at a step"):
            await app.retry("r1")
        with pytest.raises(NotFound):
            await app.retry("r2")


@in_loop
async def test_a_step_that_may_have_run_once_is_not_called_again_unasked(journal: Journal) -> None:
    is_down = [True]

    def fails(data: Any) -> Any:
        if is_down[0]:
            raise ValueError("down")
        return data

    flow = create_workflow(id="w").then(journal.step("once", fails, at_most_once=True)).commit()
    async with AppOn(MemoryStore(), workflows=[flow]) as app:
        await (await app.start(flow, {"v": 1}, run_id="r1")).result()
        is_down[0] = False
        with pytest.raises(UsageError, match="--even-at-most-once"):
            await app.retry("r1")
        assert (await (await app.retry("r1", even_at_most_once=True)).result()).status == "success"


@in_loop
async def test_from_a_step_all_that_came_after_is_done_again(journal: Journal) -> None:
    flow = create_workflow(id="w").then(journal.inc()).then(journal.take()).then(journal.boom()).commit()
    async with AppOn(MemoryStore(), workflows=[flow]) as app:
        await (await app.start(flow, {"v": 1}, run_id="r1")).result()
        await (await app.retry("r1", from_step="take")).result()
        assert journal.began == ["inc", "take", "boom", "take", "boom"]
        with pytest.raises(UsageError, match="never called a step at 'tax'"):
            await app.retry("r1 › r1", from_step="tax")


@in_loop
async def test_a_run_whose_own_code_failed_goes_on_under_todays(journal: Journal) -> None:
    add = journal.step("add", lambda data: {"v": data["v"] + 1})

    @workflow(id="w")
    async def broken(data: dict[str, int]) -> Any:
        await add(data)
        raise ValueError("a bug")

    store = MemoryStore()
    async with AppOn(store, workflows=[broken], steps=[add]) as app:
        assert (await (await app.start(broken, {"v": 1}, run_id="r1")).result()).status == "failed"
        with pytest.raises(UsageError, match=r"the workflow's own code failed.*'--onto'"):
            await app.retry("r1")

    def mended() -> Workflow:
        @workflow(id="w")
        async def mended(data: dict[str, int]) -> Any:
            made = await add(data)
            return await add(made)

        return mended

    def other() -> Workflow:
        @workflow(id="w")
        async def other(data: dict[str, int]) -> Any:
            return await add({"v": 100})

        return other

    for flow, is_mended in ((other(), False), (mended(), True)):
        async with AppOn(store, workflows=[flow], steps=[add]) as app:
            if is_mended:
                assert (await (await app.retry("r1", onto="w")).result()).unwrap() == {"v": 3}
            else:
                with pytest.raises(Divergence, match="record"):
                    await app.retry("r1", onto=flow)
    assert journal.began == ["add", "add#2"]


@in_loop
async def test_a_client_leaves_the_request_for_a_worker(tmp_path: Path, journal: Journal) -> None:
    file, provider = tmp_path / "runs.db", Provider()
    flow = paying(journal, provider)
    async with Client(file) as client:
        async with Cloche(file, workflows=[flow]) as app:
            await (await app.start(flow, {"v": 1}, run_id="r1")).result()
        again = await client.retry("r1")
        assert (again.id, await again.status()) == ("r1\x1fr1", "pending")
        assert (await client.retry("r1")).id == again.id
        provider.is_down_after_charging = False
        async with Cloche(file, workflows=[flow]):
            assert (await again.result()).unwrap() == {"v": 4}
    assert len(provider.charged) == 1


@in_loop
async def test_a_run_that_cleaned_up_is_not_retried_unasked(journal: Journal) -> None:
    undo, fail = journal.take(), journal.boom()

    @workflow(id="saga")
    async def saga(data: dict[str, int]) -> Any:
        try:
            return await fail(data)
        except Exception:
            await undo(data)
            raise

    async with AppOn(MemoryStore(), workflows=[saga], steps=[undo, fail]) as app:
        await (await app.start(saga, {"v": 1}, run_id="r1")).result()
        with pytest.raises(UsageError, match=r"has cleaned up after its failure.*take"):
            await app.retry("r1")


@in_loop
async def test_a_step_tags_its_run_and_is_found_by_that(store: Store) -> None:
    def tag(data: Any, ctx: StepContext) -> Any:
        ctx.set_tags(customer=f"c-{data['v']}", plan="pro")
        return data

    flow = create_workflow(id="w").then(create_step(id="tag", execute=tag)).commit()
    async with AppOn(store, workflows=[flow]) as app:
        run = await app.start(flow, {"v": 7}, run_id="r1", tags={"plan": "free", "desk": "a"})
        await run.result()
        assert await store.marks(run._key) == {"tag customer": "c-7", "tag desk": "a", "tag plan": "pro"}
        kinds = [record.kind for record in await all_records(store, run._key)]
        assert kinds.count(Kind.TAGS_SET) == 1
        assert (await app.verify()).ok
        assert (await app.replay("r1")).ok
