"""`cloche serve` in a process of its own, and who asks it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import httpx

PATIENCE_S = 60.0


class Serving:
    """A server on a free port of this machine; killed in the end if it still runs."""

    def __init__(self, *targets: str, store: str, port: int = 0, token: str | None = None, options: Any = ()) -> None:
        line = [sys.executable, "-m", "cloche.cli", "serve", *targets, "--store", store, "--port", str(port), "--json"]
        self.process = subprocess.Popen([*line, *options], stdout=subprocess.PIPE, text=True, env={**os.environ})
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said, f"the server ended with {self.process.wait(PATIENCE_S)}"
        self.url: str = json.loads(said)["url"]
        self.port = int(self.url.rpartition(":")[2])
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(base_url=self.url, timeout=PATIENCE_S, headers=self.headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()
        self.kill()

    def kill(self) -> None:
        """As `kill -9` does."""
        self.process.kill()
        self.process.wait(PATIENCE_S)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def get(self, place: str, **headers: str) -> httpx.Response:
        return self._client.get(place, headers=headers)

    def post(self, place: str, body: Any = None, **headers: str) -> httpx.Response:
        return self._client.post(place, json=body, headers=headers)

    @contextmanager
    def stream(self, place: str, *, last_id: int | None = None, **parameters: Any) -> Iterator[Iterator[str]]:
        """The lines of a stream that are not empty; they end where the connection does."""
        headers = {"Last-Event-ID": str(last_id)} if last_id is not None else {}
        with self._client.stream("GET", place, params=parameters, headers=headers) as answer:
            yield _lines(answer)


def _lines(answer: httpx.Response) -> Iterator[str]:
    try:
        yield from (line for line in answer.iter_lines() if line)
    except httpx.TransportError:  # the server was killed
        return
