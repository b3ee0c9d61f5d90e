"""The histories of one run: `continue_as_new` ends one and asks for the next in the same commit, under an id that follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.history.ids import continuation_key, history_key, history_number
from cloche.status import RunStatus

if TYPE_CHECKING:
    from cloche.history import RunKey
    from cloche.store.protocol import Store


async def is_to_begin(store: Store, key: RunKey) -> bool:
    """Whether it is the next history of a run, that was asked for and has not begun."""
    if not history_number(key) or await store.run(key) is not None:
        return False
    before = await store.run(history_key(key, history_number(key) - 1))
    return before is not None and before.status == RunStatus.CONTINUED


async def newest(store: Store, key: RunKey) -> RunKey:
    """The newest history of the run that `key` names, or `key` itself: also one that was asked for and has not begun.

    Found in so many looks as its number has binary digits, twice.
    """
    row = await store.run(key)
    if row is None or row.status != RunStatus.CONTINUED:
        return key
    known, step, grows = key, 1, True  # `known` has gone on as another one
    while True:
        row = await store.run(found := continuation_key(known, step))
        if row is not None and row.status != RunStatus.CONTINUED:
            return found
        if row is None and step == 1:
            return found
        known, grows = (known, False) if row is None else (found, grows)
        step = step * 2 if grows else max(step // 2, 1)
