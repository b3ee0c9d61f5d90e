"""Requests to a server, and its problems as the errors that they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

from cloche import errors
from cloche.errors import AccessRefused, ClocheError, StoreUnavailable, UsageError
from cloche.operations.forms import from_cbor, to_cbor

try:
    import httpx
except ModuleNotFoundError as missing:
    raise UsageError("a server is asked over HTTP, which needs a client: pip install 'cloche[remote]'") from missing

CBOR = "application/cbor"
TIMEOUT_S = 60.0  # more than a server waits for a run (`Prefer: wait`), and than it is silent in a stream
_URN = "urn:cloche:error:"
_NO_FACTS = {
    "type",
    "title",
    "status",
    "detail",
    "what_to_do",
    "message",
    "self",
}  # of a problem, and what an error calls itself


class Transport:
    """The connections to one server.

    Raises:
        StoreUnavailable: from every request: the server did not answer, or its store did not. It may have been done.
        AccessRefused: the token does not let in, or not to this.
        ClocheError: what the server refused the request with.
    """

    def __init__(self, url: str, token: str | None, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        self._headers = {**headers, "User-Agent": "cloche"}
        self._transport = transport or httpx.AsyncHTTPTransport(retries=2)  # of connecting alone: nothing was asked yet
        self._client = httpx.AsyncClient(headers=headers, timeout=TIMEOUT_S, transport=self._transport)
        self._times = httpx.Timeout(TIMEOUT_S).as_dict()

    async def close(self) -> None:
        await self._client.aclose()

    async def ask(
        self,
        method: str,
        place: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        accept: str = CBOR,
    ) -> httpx.Response:
        """The answer to a request; `body` goes as CBOR, so that values keep their types."""
        more = {"Accept": accept, **(headers or {})}
        content = None
        if body is not None:
            content, more["Content-Type"] = to_cbor(body), CBOR
        given = {
            name: value if isinstance(value, list) else str(value)
            for name, value in (parameters or {}).items()
            if value is not None
        }
        url = f"{self.url}/v1{place}"
        try:  # past the client: cookies, redirects and sign-in are half of its time, and there are none
            request = httpx.Request(
                method,
                url,
                params=given or None,
                headers={**self._headers, **more},
                content=content,
                extensions={"timeout": self._times},
            )
            answer = await self._transport.handle_async_request(request)
            answer.request = request
            await answer.aread()
        except httpx.TransportError as error:
            raise self._unavailable(error) from error
        if answer.status_code >= 400:
            raise problem_of(answer)
        return answer

    @asynccontextmanager
    async def stream(
        self, place: str, *, headers: Mapping[str, str], parameters: Mapping[str, Any]
    ) -> AsyncIterator[httpx.Response]:
        """An answer that is read as it comes."""
        given = {name: str(value) for name, value in parameters.items()}
        try:
            async with self._client.stream("GET", f"{self.url}/v1{place}", headers=headers, params=given) as answer:
                if answer.status_code >= 400:
                    await answer.aread()
                    raise problem_of(answer)
                yield answer
        except httpx.TransportError as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(f"the server {self.url} did not answer: {error or type(error).__name__}", path=self.url)


def segment(text: str) -> str:
    """A part of a path: a `/` in it is no separator."""
    return quote(text, safe="")


def values(answer: httpx.Response) -> Any:
    """What an answer in CBOR holds."""
    return from_cbor(answer.content)


def problem_of(answer: httpx.Response) -> ClocheError:
    """The error that the server refused a request with."""
    body = _object(answer)
    code = str(body.get("type", "")).removeprefix(_URN)
    detail = str(body.get("detail") or f"the server answered {answer.status_code}")
    if answer.status_code in (401, 403):
        return AccessRefused(detail, status=answer.status_code)
    known = {
        kind.code: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ClocheError)
    }
    facts = {name: one for name, one in body.items() if name not in _NO_FACTS}
    if code not in known and answer.status_code in (429, 502, 503, 504):
        return StoreUnavailable(detail, path=str(answer.request.url))
    return known.get(code, UsageError)(detail, **facts)


def _object(answer: httpx.Response) -> dict[str, Any]:
    """The object that an answer holds, an empty one if it holds anything else: what stands before a server may answer too."""
    try:
        body = answer.json()
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}
