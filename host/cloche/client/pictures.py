"""A run's picture, read from its store: awaited, or at once for a notebook that shows a `Run`."""

from __future__ import annotations

from collections.abc import Coroutine
from html import escape
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from cloche.history.heads import Head, Heads
from cloche.operations.picture import RunPicture, picture_of
from cloche.operations.summaries import summary_of
from cloche.store import record_pages
from cloche.text import shown

if TYPE_CHECKING:
    from cloche.history import RunKey
    from cloche.store import Store

RECORDS_MAX = 20_000  # of a longer run the picture is that of its beginning
T = TypeVar("T")


class Pictured(Protocol):
    @property
    def id(self) -> str: ...
    async def picture(self) -> RunPicture: ...


async def read_picture(store: Store, key: RunKey, run_id: str, now: int) -> RunPicture:
    """
    Raises:
        HistoryError: it is damaged.
    """
    row = await store.run(key)
    if row is None:
        return picture_of(run_id, "", "pending", [], now)
    heads, found = Heads(key), list[tuple[Head, str]]()
    async for page in record_pages(store, key):
        found += [(heads.of(record), summary_of(record)) for record in page]
        if len(found) >= RECORDS_MAX:
            break
    return picture_of(run_id, row.workflow, str(row.status), found, now)


def picture_now(run: Pictured) -> str:
    """A notebook asks for HTML while its event loop stands still: a store in memory or in a file gives it at once."""
    picture = _at_once(run.picture())
    if picture is not None:
        return picture.html
    name = escape(shown(run.id))
    return f"<code>Run({name!r})</code>: its store has to be waited for. To see it: <code>await run.picture()</code>"


def _at_once(work: Coroutine[Any, Any, T]) -> T | None:
    """What it gives without waiting for anything; None if it has to wait, or cannot."""
    try:
        while work.send(None) is None:  # it lets others go first, and that is all
            pass
    except StopIteration as end:
        found: T = end.value
        return found
    except Exception:  # a notebook then shows the text: whoever awaits the picture hears the reason
        return None
    work.close()
    return None
