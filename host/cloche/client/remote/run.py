"""`RemoteRun`: a run behind a server, with the face of `Run`."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol

from cloche.client.records import Places, RunRecord, position_of, position_text
from cloche.client.remote.forms import row_of
from cloche.client.remote.transport import segment, values
from cloche.client.runs import Run
from cloche.engines import Code
from cloche.errors import NotFound, StoreUnavailable, UsageError
from cloche.history import Record, RunKey, Seq
from cloche.history.check import decode_sequence
from cloche.history.ids import history_key, history_number
from cloche.history.payloads import split
from cloche.history.records import IN_PARTS, genesis, unpack_record
from cloche.history.values import decode
from cloche.run.clock import World
from cloche.run.results import RunResult
from cloche.status import FINAL, RESTING, RunStatus

if TYPE_CHECKING:
    import httpx

    from cloche.operations.view import RunView
    from cloche.operations.why import Why
    from cloche.store import RunRow

WAIT_S = 30
PAGE_RECORDS = 1000
BROKEN_MAX = 5  # times running that a stream may break before anything came
PAUSE_S = 0.5  # before a stream is opened again


class Asking(Protocol):
    """Who asks the server for the runs of a tenant: `RemoteRuns`."""

    async def ask(self, method: str, place: str, body: Any = None, **options: Any) -> httpx.Response: ...

    def stream(
        self, place: str, headers: Mapping[str, str], parameters: Mapping[str, Any]
    ) -> AbstractAsyncContextManager[httpx.Response]: ...

    async def seen(self, run_id: str, headers: Mapping[str, str]) -> tuple[bool, RunView]: ...

    async def resume(self, run_id: str) -> RunResult: ...

    async def cancel(self, run_id: str) -> None: ...

    async def why(self, run_id: str) -> Why: ...


class RemoteRun(Run):
    """Made by `start` and `get` of a `Client` of a server."""

    def __init__(self, owner: Asking, key: RunKey, world: World) -> None:
        self._runs = owner
        self._key = key
        self._world = world

    async def start(self, input_data: Any = None, **options: Any) -> RunResult:
        raise UsageError(f"run {self.id} is there already: start another one with Client.start")

    async def resume(self, **options: Any) -> RunResult:
        resume: Any = self._runs.resume  # it has the options of `Run.resume`
        result: RunResult = await resume(self.id, **options)
        return result

    async def cancel(self) -> None:
        await self._runs.cancel(self.id)

    async def why(self) -> Why:
        return await self._runs.why(self.id)

    async def status(self) -> str:
        data = values(await self._runs.ask("GET", f"{self._place}/result"))
        return RunStatus(data["status"])

    async def row(self) -> RunRow:
        answer = await self._runs.ask("GET", self._place, accept="application/json")
        if (data := answer.json())["records"] == 0:
            raise NotFound(f"run {self.id} has not begun", kind="run", id=self.id)
        return row_of(data)

    async def result(self, *, final: bool = False) -> RunResult:
        stops = (*FINAL, RunStatus.BLOCKED) if final else RESTING
        headers = {"Prefer": f"wait={WAIT_S}"}
        while True:
            is_at_rest, view = await self._runs.seen(self.id, headers)
            if is_at_rest and view.result.status in stops:
                return view.result
            if is_at_rest:  # until somebody has resumed it
                async for _ in self._numbers(view.records, final=True):
                    pass

    async def code(self) -> Code:
        raise UsageError("a server gives the source and the graph of a run, and not its bundle")

    async def records(self, after: int = 0, limit: int = 100, *, history: int | None = None) -> list[Record]:
        """A page, verified; where it does not begin at the first record, from the record before it on."""
        self._check_newest(history)
        before = 1 if after else 0
        items = await self._stored(after - before, limit + before)
        if not items:
            return []
        previous = items[0][1] if before else genesis((await self.row()).key)
        found = []
        for seq, (packed, hash) in enumerate(items[before:], after + 1):
            found.append(await self._record(packed, hash, previous, seq))
            previous = hash
        return found

    async def history(self, from_seq: int = 0, *, history: int | None = None) -> list[RunRecord]:
        self._check_newest(history)
        found: list[RunRecord] = []
        places = Places(self.records)
        while page := await self.records(found[-1].seq if found else from_seq, PAGE_RECORDS - 1):
            found += [await places.placed(one) for one in page]
        return found

    async def stream(self, from_seq: int | tuple[int, int] = 0, *, final: bool = False) -> AsyncIterator[RunRecord]:
        """As `Run.stream`. Where the line breaks, it goes on with the record after the last that came."""
        position = (history_number(self._key), from_seq) if isinstance(from_seq, int) else from_seq
        previous: bytes | None = None
        places: Places | None = None
        async for history, seq, packed, hash in self._items(position, final=final):
            if places is None or seq == 1:
                places = Places(self.records, history)
            if seq == 1:
                previous = genesis(history_key(self._key, history))
            elif previous is None:
                [(_, previous)] = await self._stored(seq - 2, 1)
            yield await places.placed(await self._record(packed, hash, previous, seq))
            previous = hash

    # ---- inside ----

    @staticmethod
    def _check_newest(history: int | None) -> None:
        if history is not None:
            raise UsageError("a server gives pages of the newest history: stream the run from the history you want")

    @property
    def _place(self) -> str:
        return f"/runs/{segment(self.id)}"

    async def _stored(self, after: int, limit: int) -> list[tuple[bytes, bytes]]:
        parameters = {"after": after, "limit": min(limit, PAGE_RECORDS)}
        answer = await self._runs.ask("GET", f"{self._place}/log", parameters=parameters, accept="application/cbor-seq")
        return [(packed, hash) for packed, hash in decode_sequence(answer.content)]

    async def _record(self, packed: bytes, hash: bytes, previous: bytes, seq: int) -> Record:
        """
        Raises:
            BrokenChain: it is not the one that was written.
        """
        parts: dict[bytes, bytes] = {}
        if decode(packed)[0] == IN_PARTS:
            answer = await self._runs.ask("GET", f"{self._place}/records/{seq}/body")
            parts = dict(split(answer.content).parts)
        return unpack_record(packed, hash, previous=previous, expected=Seq(seq), find=parts.get)

    async def _items(self, after: tuple[int, int], *, final: bool) -> AsyncIterator[tuple[int, int, bytes, bytes]]:
        async for (history, seq), data in self._events(after, "stored", final=final):
            [(packed, hash)] = decode_sequence(base64.b64decode(data))
            yield history, seq, packed, hash

    async def _numbers(self, after: int, *, final: bool) -> AsyncIterator[int]:
        history = history_number((await self.row()).key)
        async for (_, seq), _ in self._events((history, after), "none", final=final):
            yield seq

    async def _events(
        self, after: tuple[int, int], bodies: str, *, final: bool
    ) -> AsyncIterator[tuple[tuple[int, int], str]]:
        """The number and the data of each record of the stream, over all breaks of the line.

        Raises:
            StoreUnavailable: it broke several times running before anything came.
        """
        broken = 0
        parameters = {"bodies": bodies, "until": "ended" if final else "stopped", "after": after[1]}
        while True:
            try:
                seen = {"Last-Event-ID": position_text(*after)} if any(after) else {}
                headers = {"Accept": "text/event-stream", **seen}
                async with self._runs.stream(f"{self._place}/events", headers, parameters) as answer:
                    async for kind, id, data in _parsed(answer):
                        if kind == "stopped":
                            return
                        after, broken = position_of(id) or after, 0
                        yield after, data
                    if answer.status_code == 204:
                        return
            except StoreUnavailable:
                broken += 1
                if broken == BROKEN_MAX:
                    raise
            await self._world.pause(PAUSE_S)


async def _parsed(answer: Any) -> AsyncIterator[tuple[str, str, str]]:
    """Kind, id and data of each event, as its line is complete."""
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        else:
            if "event" in fields:
                yield fields["event"], fields.get("id", ""), fields.get("data", "")
            fields = {}
