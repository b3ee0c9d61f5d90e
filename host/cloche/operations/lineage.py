"""Where a run comes from and what came of it: its parent, its children, what it was retried, forked or continued from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cloche.history import Kind, RunId, RunKey, Seq
from cloche.history.ids import child_key, parent_of, schedule_of
from cloche.history.messages import StartChild
from cloche.history.notes import unpack_created
from cloche.history.reading import message_of
from cloche.operations.replay import row_of
from cloche.store import first_record
from cloche.store.histories import newest

if TYPE_CHECKING:
    from cloche.history import Record
    from cloche.store import Store

PAGE = 1000


@dataclass(frozen=True, slots=True)
class Relative:
    """A run that this one has to do with. `status` None: it has not begun, or was deleted.

    Of a child `path` is the call that waits for it, and `seq` the record that began it; of a parent `path` is None.
    """

    run_id: str
    workflow: str | None
    status: str | None
    path: str | None = None
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Lineage:
    """`forked_at` is where the run that it was forked from was taken up; `continues` the history before, `continued_as` the
    newest one; `schedule` the id of the schedule that began it. `children` are a page; `next` is where the next one begins."""

    run_id: str
    parent: Relative | None
    retry_of: Relative | None
    retried_as: list[Relative]
    forked_from: Relative | None
    forked_at: str | None
    continues: Relative | None
    continued_as: Relative | None
    schedule: str | None
    children: list[Relative]
    next: int | None

    def to_data(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


async def lineage(store: Store, key: RunKey, after: int = 0, limit: int = 100) -> Lineage:
    """With up to `limit` children, those that were begun by records after `after`.

    Raises:
        NotFound: there is no such run, or no worker has begun it.
        HistoryError: it is damaged.
    """
    row = await row_of(store, key)
    created = unpack_created(await first_record(store, key))
    children, more = await _children(store, key, created.derived_ids, after, limit)
    parent, last = parent_of(key), await newest(store, key)
    forked = created.forked_from
    return Lineage(
        run_id=key.run,
        parent=await _relative(store, parent[0]) if parent is not None else None,
        retry_of=await _named(store, key, created.retry_of.get("run")),
        retried_as=[await _relative(store, one) for one in await store.retries(key)],
        forked_from=await _named(store, key, forked.get("run")),
        forked_at=forked.get("at"),
        continues=await _named(store, key, created.continues),
        continued_as=await _relative(store, last) if last != row.key else None,
        schedule=schedule_of(key),
        children=children,
        next=more,
    )


async def _named(store: Store, key: RunKey, run: str | None) -> Relative | None:
    return await _relative(store, RunKey(key.tenant, RunId(run))) if run else None


async def _relative(store: Store, key: RunKey, workflow: str | None = None, **more: Any) -> Relative:
    row = await store.run(key)
    if row is None:
        return Relative(key.run, workflow, None, **more)
    return Relative(key.run, row.workflow, str(row.status), **more)


async def _children(
    store: Store, key: RunKey, derived_ids: bool, after: int, limit: int
) -> tuple[list[Relative], int | None]:
    """A page of them, and the record that the next page follows."""
    found: list[Relative] = []
    while page := await store.records(key, Seq(after), PAGE):
        for record in page:
            if record.kind is Kind.CHILD_STARTED:
                if len(found) == limit:
                    return found, found[-1].seq
                one = await _child(store, key, record, derived_ids)
                if all(
                    one.run_id != other.run_id for other in found
                ):  # else a call that was refused a second one of its id
                    found.append(one)
        after = page[-1].seq
    return found, None


async def _child(store: Store, key: RunKey, record: Record, derived_ids: bool) -> Relative:
    asked = message_of(record)
    assert isinstance(asked, StartChild)
    child = child_key(key, asked.child, derived_ids=derived_ids)
    return await _relative(store, await newest(store, child), asked.workflow, path=asked.path, seq=record.seq)
