"""Calls of a client that begin in their tenant's turn, where the process that executes runs is the one that is called."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from cloche.client.ports import Connection

P = ParamSpec("P")
T = TypeVar("T")


class OfTenant(Protocol):
    """A handle of one tenant."""

    _tenant: Any

    @property
    def connection(self) -> Connection: ...


S = TypeVar("S", bound=OfTenant)


def in_turn(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """The same method: what it takes of the event loop is charged to its tenant, and a tenant that has had more waits."""

    @wraps(method)
    async def call(self: S, /, *arguments: P.args, **named: P.kwargs) -> T:
        return await self.connection.in_turn(self._tenant, method(self, *arguments, **named))

    return call
