"""What stands before every request: who asks, whether a page of somebody else's sent it, how often, and how much it carries.

Plain ASGI, so that nothing of a request is read before it was let in, and answers of all kinds have the same headers.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote

from cloche.errors import ClocheError
from cloche.http.assets import is_page
from cloche.http.direct import answer_directly, direct
from cloche.http.principals import LASTING, PRINCIPAL, SERVICE, SLASH, Principal, Scope, local, session_in
from cloche.http.problems import Refused, fault_of, problem_of

if TYPE_CHECKING:
    from cloche.http.service import Service

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADERS_MAX, HEADERS_BYTES_MAX = 100, 32 << 10
BODY_S = 30.0
SAFE = ("GET", "HEAD", "OPTIONS")
ONCE = (
    b"authorization",
    b"host",
    b"cloche-tenant",
    b"origin",
    b"sec-fetch-site",
    b"content-type",
    b"idempotency-key",
    b"last-event-id",
)
OPEN = (
    "/healthz",
    "/readyz",
    "/openapi.json",
)  # nothing of a tenant's: for those who watch and those who build clients
HOOKS = "/v1/hooks/"
_THIS_MACHINE = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?", re.IGNORECASE)
_SECURITY = {
    b"x-content-type-options": b"nosniff",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}


class Gate:
    """Middleware round an app."""

    def __init__(self, app: AsgiApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        has_begun = False
        scope[SERVICE] = self._service

        async def guarded(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                message["headers"] = _with_security(message.get("headers", ()))
            await send(message)

        try:
            await self._let_in(scope)
            bounded = _Bounded(receive, self._service.body_bytes_max)
            if PRINCIPAL in scope and (found := direct(scope, _path(scope))) is not None:
                return await answer_directly(self._service, found, scope, bounded, guarded)
            await self._app(scope, bounded, guarded)
            if (lasting := scope.pop(LASTING, None)) is not None:
                await lasting(receive, guarded)
        except Refused as refused:
            await refused.response()(scope, receive, guarded)
        except ClocheError as error:  # of the store, when it is asked whose the token is
            if has_begun:
                raise
            await problem_of(error)(scope, receive, guarded)
        except Exception as error:
            if has_begun:
                raise
            await fault_of(error)(scope, receive, guarded)
        return None

    async def _let_in(self, scope: Scope) -> None:
        """
        Raises:
            Refused: it is not let in.
        """
        _keep_slashes(scope)
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if len(scope["headers"]) > HEADERS_MAX or sum(map(len, headers.values())) > HEADERS_BYTES_MAX:
            what = f"there are more than {HEADERS_MAX} headers, or {HEADERS_BYTES_MAX:,} bytes of them"
            raise Refused(431, "too-many-headers", what)
        if twice := _twice(scope["headers"]):
            raise Refused(400, "usage", f"the header {twice} is there twice, and nobody knows which one is meant")
        if self._service.auth is local and not _THIS_MACHINE.fullmatch(headers.get(b"host", "")):
            raise Refused(421, "unknown-host", "this server answers to the names of its machine alone")
        if scope["method"] not in SAFE:
            _check_site(headers)
        if headers.get(b"content-encoding", "identity") != "identity":
            raise Refused(415, "unsupported-media-type", "the body is compressed: send it as it is")
        declared = headers.get(b"content-length", "0")
        if not declared.isdecimal() or int(declared[:18]) > self._service.body_bytes_max:
            raise _too_large(self._service.body_bytes_max)
        if _path(scope) in OPEN or is_page(_path(scope)):
            return
        if not self._service.client.is_open:
            raise Refused(503, "not-open", "the app was mounted, and whoever mounted it has not opened its client")
        principal = await self._principal(scope)
        if principal is not None:
            self._service.rates.take(principal.id)
            scope[PRINCIPAL] = principal
        elif _path(scope).startswith(HOOKS):  # the token of the hook, or a signature, may let it in
            self._service.rates.take(f"hooks {(scope.get('client') or ('',))[0]}")
        else:
            headers = {"WWW-Authenticate": 'Bearer realm="cloche"'}
            raise Refused(401, "unauthenticated", "the request has no token that is valid", headers=headers)

    async def _principal(self, scope: Scope) -> Principal | None:
        try:
            found = self._service.auth(scope)
            return await found if inspect.isawaitable(found) else found
        except (Exception, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:  # a SystemExit that leaves a task ends the server
            raise RuntimeError(f"`auth` raised {type(error).__name__}, which is no Exception") from error


def _twice(headers: Any) -> str:
    """A header by which it is told who asks for what, and that is there twice: whatever stands before this server may have
    gone by the other one."""
    names = [name.lower() for name, _ in headers]
    return next((name.decode() for name in ONCE if names.count(name) > 1), "") if len(set(names)) < len(names) else ""


def _path(scope: Scope) -> str:
    root: str = scope.get("root_path", "")
    path: str = scope["path"]
    return path[len(root) :] if root and path.startswith(root + "/") else path


def _check_site(headers: dict[bytes, str]) -> None:
    """A page of another site must not act for its reader (CSRF), whatever lets the reader in. Programs send neither header.

    Raises:
        Refused: it comes from such a page.
    """
    site, origin, has_cookie = headers.get(b"sec-fetch-site"), headers.get(b"origin"), session_in(headers) is not None
    if site is not None:
        is_own = site == "same-origin" or (site == "none" and not has_cookie)
    elif origin is None:
        is_own = not has_cookie  # a browser says where a request comes from: one that does not is too old to be trusted
    else:
        is_own = origin.partition("://")[2] == headers.get(b"host", "")
    if not is_own:
        raise Refused(403, "cross-site", "the request was sent by a page of another site")


def _keep_slashes(scope: Scope) -> None:
    """Say where the path is as the client has sent it, whatever an outer app has made of it.

    An id may hold a `/`, which is sent as `%2F`: the path that is routed must not be cut there. Some apps take the prefix away
    that this one is mounted at without saying so, and add a slash at the end.
    """
    raw = (scope.get("raw_path") or b"").decode("latin-1").partition("?")[0]
    kept = unquote(re.sub("%2f", SLASH, raw, flags=re.IGNORECASE))
    sent, path = kept.replace(SLASH, "/"), scope["path"]
    if path.endswith("/") and not sent.endswith("/"):
        path = path[:-1]
    if path and sent.endswith(path):
        prefix = sent[: len(sent) - len(path)]
        scope["path"] = kept[len(prefix) :]
        if prefix and not scope.get("root_path"):
            scope["root_path"] = prefix


def _with_security(headers: Any) -> list[tuple[bytes, bytes]]:
    there = {name.lower() for name, _ in headers}
    return [*headers, *((name, value) for name, value in _SECURITY.items() if name not in there)]


def _too_large(most: int) -> Refused:
    return Refused(413, "body-too-large", f"the body is larger than {most:,} bytes", limit="body_bytes", value=most)


class _Bounded:
    """What is received: a body of up to so many bytes, counted as they come, all of them within `BODY_S`."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive = receive
        self._most = most
        self._size = 0
        self._due: float | None = None  # by when the body is whole
        self._is_whole = False

    async def __call__(self) -> Message:
        message = await self._receive() if self._is_whole else await self._part()
        if message["type"] == "http.request":
            self._is_whole = not message.get("more_body", False)
            self._size += len(message.get("body", b""))
            if self._size > self._most:
                raise _too_large(self._most)
        return message

    async def _part(self) -> Message:
        if self._due is None:
            self._due = asyncio.get_running_loop().time() + BODY_S
        try:
            async with asyncio.timeout_at(self._due):
                return await self._receive()
        except TimeoutError:
            what = f"the body was not whole within {BODY_S:g} s"
            raise Refused(408, "body-too-slow", what, headers={"Connection": "close"}) from None
