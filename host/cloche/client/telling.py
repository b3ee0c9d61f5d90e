"""`Telling`: events for the runs of a tenant, and what goes with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cloche.client.in_turn import in_turn
from cloche.errors import NotFound, NotSuspended, UsageError
from cloche.history import Failure, RunKey, TenantId
from cloche.history.ids import check_idempotency_key, event_name, history_key, history_number
from cloche.history.notes import RunCreated
from cloche.history.values import encode, plain
from cloche.operations import acts, replay
from cloche.operations.acts import Act
from cloche.operations.start_requests import has_run
from cloche.run.hooks import beat_name
from cloche.run.limits import check_event, inbox_bounds
from cloche.status import FINAL
from cloche.store import GRANTED, RunRow
from cloche.worker.answers import token_of

if TYPE_CHECKING:
    from cloche.client.ports import Connection


class Telling:
    """`connection` is that of the handle, `_key` names a run of it."""

    _tenant: TenantId

    if TYPE_CHECKING:

        @property
        def connection(self) -> Connection: ...

        async def _newest(self, run_id: str) -> RunKey: ...

    async def _write_act(self, act: Act, by: str, **facts: Any) -> None:
        """Of what a person asks of a run; of what a program asks, `by` nobody, the log of the run tells."""
        if by:
            await acts.write_act(self.connection.store, act, by, self.connection.world.now(), self._tenant, **facts)

    @in_turn
    async def send_event(
        self,
        run_id: str,
        name: str,
        payload: Any = None,
        *,
        error: BaseException | str | Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        by: str = "",
    ) -> bool:
        """Send an event to a run that waits for it, or will: it is kept until then, and delivered once.

        With an `error` in place of the payload, what waits for the event fails with that: in a native workflow it is raised as
        what it is, a text as a `Failure`, a mapping of `name`, `message` and `data` as what that says. The same
        `idempotency_key` again is the same event, for as long as the run is in the store. `by` is who sends it, for the audit
        log.

        Returns:
            Whether it is new: False if an event with the `idempotency_key` was delivered before.

        Raises:
            NotFound: there is no such run.
            NotSuspended: it has ended.
            InvalidInput: no workflow can wait for an event of that name, or the payload does not fit the schema that the
                run's workflow has for it.
            LimitExceeded: the payload is larger than `payload_bytes` of the policy that the run is pinned to.
            InboxFull: as many events wait for the run, or for the tenant's runs, as that policy allows; it was not kept.
            UsageError: a payload and an error were given.
        """
        name = event_name(name)
        if error is not None and payload is not None:
            raise UsageError("an event carries a payload or an error, not both")
        failure = [] if error is None else [sent_failure(error).to_wire()]
        check_idempotency_key(idempotency_key)
        while True:
            key = await self._newest(run_id)
            try:
                return await self._send(key, name, payload, failure, idempotency_key, by)
            except NotSuspended:
                if await self._newest(run_id) == key:
                    raise

    async def _send(
        self, key: RunKey, name: str, payload: Any, failure: list[Any], idempotency_key: str | None, by: str
    ) -> bool:
        """To this history of the run: it may go on as another one meanwhile."""
        connection = self.connection
        store = connection.store
        token = token_of(key, "event", idempotency_key or connection.world.run_id())
        row = await store.run(key) if await has_run(store, key) else await replay.row_of(store, key)
        for number in range(history_number(key) + 1) if idempotency_key is not None else ():
            if await store.answer(token_of(history_key(key, number), "event", idempotency_key or "")) == GRANTED:
                return False
        payload, created = await _checked(connection, row, name, payload, failure)
        body = encode([name, payload, *failure])
        kept, now = idempotency_key is not None, connection.world.now()
        if by and await store.request(token) is None:  # else it was sent before
            await self._write_act(Act.EVENT_SENT, by, run=key.run, event=name)
        await store.post(key, "event", body, token, now, kept=kept, name=name, bounds=inbox_bounds(created))
        await connection.posted()
        return True

    @in_turn
    async def heartbeat_event(self, run_id: str, name: str) -> None:
        """Say that whoever is to send the event is still at it: what waits for it with a `heartbeat` goes on waiting.

        Only the newest one is kept, and it is no record of the run.

        Raises:
            NotFound: there is no such run.
            NotSuspended: it has ended.
            InvalidInput: no workflow can wait for an event of that name.
        """
        key, name = await self._newest(run_id), beat_name(event_name(name))
        connection = self.connection
        store = connection.store
        if not await has_run(store, key):
            await replay.row_of(store, key)
        token, now = token_of(key, "event", connection.world.run_id()), connection.world.now()
        await store.post(key, "event", encode([name, None]), token, now, name=name)
        for row in await store.requests(key):
            if row.name == name and row.token != token:
                await store.resolve(row.id, GRANTED)

    @in_turn
    async def resume_hook(self, token: str, payload: Any = None, *, idempotency_key: str | None = None) -> str:
        """Send a payload to the run that waits with a hook of this token (`create_hook`). It is kept until it is taken.

        Returns:
            The id of the run.

        Raises:
            NotFound: no hook with this token is open.
            InvalidInput, LimitExceeded, InboxFull, NotSuspended: as `send_event`.
        """
        found = await self.connection.store.waiting_for(self._tenant, event_name(token))
        if not found:
            raise NotFound(
                "no open hook has this token: it was closed, or its run has ended", kind="hook", id=token[-4:]
            )
        run_id = found[0].run
        await self.send_event(run_id, token, payload, idempotency_key=idempotency_key)
        return run_id


async def _checked(
    connection: Connection, row: RunRow | None, name: str, payload: Any, failure: list[Any]
) -> tuple[Any, RunCreated | None]:
    """The payload of an event as the run's workflow has it, and what that run was created with; None: a worker begins it soon.

    Raises:
        NotSuspended, InvalidInput, LimitExceeded: as `Telling.send_event`.
    """
    if row is None:
        return plain(payload, "payload"), None
    if row.status in FINAL:
        message = f"run {row.key.run} has ended ({row.status}): it takes no event"
        raise NotSuspended(message, run_id=row.key.run, suspended=[])
    payload = None if failure else await connection.checked_event(row, name, payload)
    created = await replay.created(connection.store, row.key)
    check_event(created, failure[0] if failure else payload)
    return payload, created


def sent_failure(error: BaseException | str | Mapping[str, Any]) -> Failure:
    """What a wait fails with that is given this in place of its event."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, Mapping):
        name, message = error.get("name"), error.get("message")
        if not isinstance(name, str) or not isinstance(message, str):
            raise UsageError("an error that is sent has a name and a message, both texts")
        return Failure(name, message, error.get("data"))
    return Failure("Failure", error) if isinstance(error, str) else Failure.from_exception(error)
