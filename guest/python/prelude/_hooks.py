"""Hooks: places where a run waits for many payloads, which whoever knows the token sends, whatever the run is called.

A hook is one call after the other under one name, its token: when a payload has come, the next one is asked for in the same
turn. So the run waits for that token at every commit until the hook is closed.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Generator
from contextlib import suppress
from types import GenericAlias
from typing import Any, Final

from _cloche import Promise, free_path

from . import _loop
from ._commands import HookCall
from ._failures import HookConflict
from ._names import check_event
from ._scopes import scope_named
from ._types import of_annotation, reader

_TOKEN_BYTES: Final = 16


class Hook:
    """`await hook` gives the next payload, `async for payload in hook` all until it is closed; `hook.close()` ends it."""

    __slots__ = ("_call", "_closed", "_error", "_path", "_read", "_received", "_waiting", "on", "token")

    __class_getitem__ = classmethod(GenericAlias)  # type: ignore[var-annotated]

    def __init__(self, token: str, path: str, schema: Any) -> None:
        self.token = token
        self.on: Promise | None = None
        self._path = path
        self._read = None if schema is None else reader(of_annotation(schema))
        self._received: deque[Any] = deque()
        self._waiting: deque[Promise] = deque()
        self._closed = False
        self._error: BaseException | None = None
        self._ask(path)

    def _ask(self, path: str) -> None:
        self._call = HookCall(path, self.token, None, {"token": self.token})
        self._call.begin()
        self._call.wake(self)

    def step(self) -> None:
        """A payload has come, or there will be none."""
        call = self._call
        if call.error is not None:
            self._end(call.error)
            return
        if not self._closed:
            self._ask(free_path(self._path))
        value, error = call.value, None
        if self._read is not None:
            try:
                value = self._read(value)
            except Exception as misfit:
                value, error = None, misfit
        if self._waiting:
            self._waiting.popleft().settle(value, error)
            return
        self._received.append((value, error))

    def _end(self, error: BaseException | None) -> None:
        self._closed, self._error = True, error
        _open.pop(self.token, None)
        while self._waiting:
            self._waiting.popleft().settle(_CLOSED, error)

    def _next(self) -> Promise:
        made = _Payload()
        made.hook = self
        if self._received:
            made.settle(*self._received.popleft())
        elif self._closed:
            made.settle(_CLOSED, self._error)
        else:
            self._waiting.append(made)
        return made

    def __await__(self) -> Generator[Any, Any, Any]:
        payload = self._next()
        yield payload  # not what that gives: a task sends nothing
        if payload.value is _CLOSED:
            raise RuntimeError("the hook is closed: nothing more comes for it")
        return payload.value

    def __aiter__(self) -> Hook:
        return self

    async def __anext__(self) -> Any:
        value = await self._next()
        if value is _CLOSED:
            raise StopAsyncIteration
        return value

    def close(self) -> None:
        """Nothing more is received; who waits for it goes on. What has been received can still be taken."""
        if not self._closed:
            self._call.abandon()
            self._end(None)

    def __enter__(self) -> Hook:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Payload(Promise):
    """The next one. Who gives up waiting for it leaves it to the next who waits."""

    __slots__ = ("hook",)

    hook: Hook

    def abandon(self) -> bool:
        with suppress(ValueError):
            self.hook._waiting.remove(self)
        return True


_CLOSED: Final = object()
_open: dict[str, Hook] = {}


def create_hook(*, schema: Any = None, token: str | None = None, name: str = "hook") -> Hook:
    """A place where payloads are waited for from now on: each is sent with `resume_hook(hook.token, payload)`.

    Args:
        schema: the type of each payload.
        token: the author's own, which no other open hook of the tenant may have (`HookConflict` where it is awaited);
            without one it is 128 bits that nobody can compute.
        name: what its calls are called.

    Raises:
        HookConflict: a hook of this run has the token.
    """
    path = free_path(scope_named(name))
    if token is None:
        key = _loop.hook_key()
        token = hashlib.blake2b(path.encode("utf-8"), digest_size=_TOKEN_BYTES, key=key).hexdigest()
    else:
        check_event(token, "token of a hook")
    if token in _open:
        raise HookConflict(f"a hook of this run waits for the token {token!r} already")
    made = _open[token] = Hook(token, path, schema)
    return made
