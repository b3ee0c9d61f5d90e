"""The records of a run as a stream: each once, in order, whatever happens to the server and to the line."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest
import support.counting
from support.apps import Journal, in_loop, until
from support.served import adding, asking, served, started
from support.serving import Serving

from cloche import create_workflow
from cloche.http import Principal, Role, streams


def events_of(text: str) -> list[tuple[str, str, Any]]:
    """Kind, id and data of each event."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields:
            found.append((fields["event"], fields.get("id", ""), json.loads(fields["data"])))
    return found


@in_loop
async def test_a_stream_has_every_record_and_says_that_the_run_stopped(journal: Journal) -> None:
    async with served(adding(journal)) as (ask, _):
        head = (await started(ask, "adding", {"v": 1}, "r1")).json()["records"]
        answer = await ask.get("/v1/runs/r1/events")
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.text.startswith("retry: 1000\n\n")
        *records, last = events_of(answer.text)
        assert [(kind, int(id)) for kind, id, _ in records] == [("record", seq) for seq in range(1, head + 1)]
        assert last == ("stopped", "", {"status": "success"})


@in_loop
async def test_a_stream_goes_on_after_the_number_that_was_seen(journal: Journal) -> None:
    async with served(adding(journal)) as (ask, _):
        head = (await started(ask, "adding", {"v": 1}, "r1")).json()["records"]
        answer = await ask.get("/v1/runs/r1/events", headers={"Last-Event-ID": "3"})
        assert [id for _, id, _ in events_of(answer.text)][:1] == ["4"]
        by_parameter = await ask.get("/v1/runs/r1/events", params={"after": 3})
        assert by_parameter.text == answer.text
        over = await ask.get("/v1/runs/r1/events", headers={"Last-Event-ID": str(head)})
        assert (over.status_code, over.content) == (204, b"")  # an `EventSource` asks no more


@in_loop
async def test_a_stream_may_wait_for_the_end(journal: Journal) -> None:
    async with served(asking(journal)) as (ask, _):
        await started(ask, "asking", {"v": 1}, "r1")
        following = asyncio.create_task(ask.get("/v1/runs/r1/events", params={"until": "ended"}))
        await ask.post("/v1/runs/r1/resume", json={"data": {"add": 1}})
        await ask.post("/v1/runs/r1/events/paid", json={})
        *_, last = events_of((await following).text)
        assert last == ("stopped", "", {"status": "success"})


@in_loop
async def test_a_stream_that_is_silent_pings(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "PING_S", 0.01)
    async with served(asking(journal)) as (ask, app):
        await started(ask, "asking", {"v": 1}, "r1")
        following = asyncio.create_task(ask.get("/v1/runs/r1/events", params={"until": "ended"}))
        await asyncio.sleep(0.2)
        app.drain()
        text = (await following).text
        assert ": ping\n\n" in text
        assert "stopped" not in text  # it may go on elsewhere


@in_loop
async def test_what_a_slow_reader_has_not_taken_is_not_read(journal: Journal) -> None:
    """The generator is asked for the next text when the last was taken, and reads one record ahead of it."""
    many = create_workflow(id="many").foreach(journal.take()).commit()
    async with served(many) as (ask, app):
        await started(ask, "many", list(range(200)), "r1")
        service = app.state.service
        run = await service.client.tenant("default").get("r1")
        asked: list[int] = []
        real = run.stream

        async def counted(*arguments: Any, **options: Any) -> Any:
            async for record in real(*arguments, **options):
                asked.append(record.seq)
                yield record

        run.stream = counted
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        texts: Any = streams._events(service, run, (0, 0), "none", Principal("p", Role.VIEWER), gone, final=False)
        for _ in range(5):
            await anext(texts)
        assert len(asked) <= 6
        await texts.aclose()


@in_loop
async def test_a_principal_has_no_more_streams_than_it_may(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    from cloche.http import rates

    monkeypatch.setattr(rates, "STREAMS_MAX", 2)
    async with served(asking(journal)) as (ask, app):
        await started(ask, "asking", {"v": 1}, "r1")
        place = "/v1/runs/r1/events?until=ended"
        two = [asyncio.create_task(ask.get(place)) for _ in range(2)]
        await until(lambda: app.state.service.rates.streams("local") == 2)
        third = await ask.get(place)
        assert (third.status_code, third.json()["type"]) == (429, "urn:cloche:error:too-many-streams")
        app.drain()
        await asyncio.gather(*two)
        assert app.state.service.rates.streams("local") == 0


@pytest.mark.parametrize("seed", range(2))
def test_no_record_is_missed_or_sent_twice_whenever_the_server_is_killed(tmp_path: Path, seed: int) -> None:
    """`kill -9` in the midst of streams, of a server that executes the run itself; the reader goes on with what it has."""
    chance = random.Random(seed)
    store, target = str(tmp_path / "runs.db"), f"{Path(support.counting.__file__)}:counting"
    seen: list[int] = []
    port = 0
    for kills in range(5):
        with Serving(target, store=store, port=port) as server:
            port = server.port
            server.post("/v1/workflows/counting/runs", {"input": list(range(60)), "run_id": "r1"})
            patience = chance.randrange(5, 40) if kills < 4 else 10_000
            with server.stream("/v1/runs/r1/events", last_id=seen[-1] if seen else None) as lines:
                for line in lines:
                    if line.startswith("id: "):
                        seen.append(int(line.removeprefix("id: ")))
                        patience -= 1
                    if patience == 0:
                        server.kill()
                        break
            head = server.get("/v1/runs/r1").json() if kills == 4 else None
    assert head is not None
    assert head["status"] == "success"
    assert seen == list(range(1, head["records"] + 1))
