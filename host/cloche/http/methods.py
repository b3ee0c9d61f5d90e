"""Which methods an address takes: the framework knows those of one route, and an address has several."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from starlette.routing import Match, Route

if TYPE_CHECKING:
    from fastapi import APIRouter

    from cloche.http.principals import Scope


class Methods:
    """Of the routes of `routers`, which stand under `prefix`."""

    def __init__(self, routers: Iterable[APIRouter], prefix: str) -> None:
        self._routes = [one for router in routers for one in router.routes if isinstance(one, Route)]
        self._prefix = prefix

    def allow(self, scope: Scope) -> dict[str, str]:
        """The header `Allow`; none for an address of nobody's (RFC 9110, section 10.2.1).

        Of `/runs/import`, which is an id of a run too, the methods of the address that is written so.
        """
        asked: dict[str, Any] = {"type": "http", "method": scope["method"], "headers": []}
        asked["path"] = _below(scope).removeprefix(self._prefix)
        found = defaultdict[str, set[str]](set)
        for route in self._routes:
            if route.matches(asked)[0] != Match.NONE:
                found[route.path] |= route.methods or set()
        if not found:
            return {}
        return {"Allow": ", ".join(sorted(found[min(found, key=lambda path: path.count("{"))]))}


def _below(scope: Scope) -> str:
    root, path = str(scope.get("root_path", "")), str(scope["path"])
    return path[len(root) :] if root and path.startswith(f"{root}/") else path
