"""Group commit: what one run meets, the others of its group do not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from support.apps import in_loop
from support.stores import begun, key

from cloche.errors import DamagedStore
from cloche.store import Append, MemoryStore, Outcome
from cloche.worker.committer import Committer


class DamagedInPart(MemoryStore):
    """Nothing can be written where run `bad` lies: a commit with it fails as a whole, as SQLite's do."""

    async def commit(self, appends: Sequence[Append]) -> list[Outcome]:
        if any(append.key.run == "bad" for append in appends):
            raise DamagedStore("a page cannot be read")
        return await super().commit(appends)


@in_loop
async def test_a_run_that_lies_where_the_store_is_damaged_does_not_hold_up_its_group() -> None:
    store = DamagedInPart()
    committer = Committer(store)
    waiting = [committer.append(begun(run)[1]) for run in ("a", "bad", "b")]
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), DamagedStore, type(None)]
    assert [await store.run(key(run)) is not None for run in ("a", "bad", "b")] == [True, False, True]
