"""Whether a worker has accepted what was asked of a run: for who has sent a request, and waits to hear what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.history.ids import run_key
from cloche.store import GRANTED
from cloche.store.histories import newest
from cloche.worker.answers import refusal_of, token_of

if TYPE_CHECKING:
    from cloche.store import Store


async def is_accepted(store: Store, run_id: str, tenant: str, kind: str, idempotency_key: str) -> bool:
    """Whether a request of that kind (`resume`, `event`), which was made with this key, was accepted. False: it waits.

    Raises:
        ClocheError: what a worker refused it with.
    """
    key = await newest(store, run_key(run_id, tenant))
    answer = await store.answer(token_of(key, kind, idempotency_key))
    if answer is not None and answer != GRANTED:
        raise refusal_of(answer)
    return answer == GRANTED
