"""Runs that were asked for and that no worker has begun yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.operations.replay import row_of
from cloche.store import GRANTED
from cloche.worker.answers import refusal_of, start_token
from cloche.worker.offers import published
from cloche.worker.start_request import StartRequest

if TYPE_CHECKING:
    from cloche.history import RunKey
    from cloche.store import Store


async def waiting_start(store: Store, key: RunKey) -> StartRequest | None:
    """The request to start a run that has not begun; None if it has begun.

    Raises:
        ClocheError: the request was refused with this.
        NotFound: nobody has asked for such a run, or it was deleted.
    """
    if await store.run(key) is not None:
        return None
    if (found := await store.request(start_token(key))) is not None:
        return StartRequest.unpack(found.body)
    answer = await store.answer(start_token(key))
    if answer not in (None, GRANTED):
        raise refusal_of(str(answer))
    await row_of(store, key)
    return None


async def has_run(store: Store, key: RunKey) -> bool:
    """Whether the run is there, or was asked for."""
    return await store.run(key) is not None or await store.request(start_token(key)) is not None


async def why_waiting(store: Store, key: RunKey, request: StartRequest) -> str:
    """One sentence for people: why the run has not begun."""
    name = request.workflow
    if name in (await published(store)).offers:
        return f"pending: a worker that has workflow '{name}' begins it soon"
    if await store.version_of(key.tenant, name) is not None:
        return f"pending: '{name}' is deployed, and the next worker that is running begins it"
    return f"pending: no worker has workflow '{name}': start 'cloche worker' with it, or deploy it"
