"""Parts of large bodies: which go with an append, and which a page of records is read with.

Whoever has a part has all parts below it, for parts and their roots come in one statement and go in one (`collect`). So an
append sends what this process does not know to be there, and names the topmost ones that it relies on: if one of them is gone
meanwhile, the statement says so and writes nothing, and everything is sent.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from cloche.history.payloads import Payload, children
from cloche.store.packing import packed, unpacked
from cloche.store.postgres.database import Database

KNOWN_MAX = 65_536  # digests that are remembered, 32 bytes each

Named = tuple[str, bytes]  # tenant and digest


class Known:
    """The last parts and blobs that this process has seen in the store."""

    def __init__(self) -> None:
        self._seen: OrderedDict[object, None] = OrderedDict()

    def __contains__(self, name: object) -> bool:
        return name in self._seen

    def add(self, names: Iterable[object]) -> None:
        for name in names:
            self._seen[name] = None
            self._seen.move_to_end(name)
        while len(self._seen) > KNOWN_MAX:
            self._seen.popitem(last=False)

    def clear(self) -> None:
        self._seen.clear()


class Parts:
    """What of large bodies goes with a statement."""

    def __init__(self, known: Known) -> None:
        self.sent: dict[Named, tuple[int, bytes]] = {}
        self.needed: dict[Named, None] = {}
        self._known = known

    def put(self, tenant: str, payload: Payload) -> None:
        level = [payload.root]
        for depth in range(payload.depth, -1, -1):
            following: list[bytes] = []
            for digest in dict.fromkeys(level):
                name = (tenant, digest)
                if name in self._known:
                    self.needed[name] = None
                elif name not in self.sent:
                    self.sent[name] = (depth, payload.parts[digest])
                    if depth:
                        following += children(payload.parts[digest])
            level = following

    def columns(self) -> list[list[object]]:
        """tenant, digest, depth, form, data of those that are sent, in one order for all: two statements never wait for each
        other in a circle."""
        rows = [(*name, depth, *packed(depth, data)) for name, (depth, data) in sorted(self.sent.items())]
        return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(5)]


async def parts_below(
    database: Database, tenant: str, roots: Iterable[bytes], known: Mapping[bytes, bytes]
) -> dict[bytes, bytes]:
    """The parts of the trees below `roots` that are not in `known`, level by level; not verified. What is missing is left out.

    Raises:
        BrokenChain: one of them cannot be unpacked.
    """
    found: dict[bytes, bytes] = {}
    level = {root for root in roots if root not in known}
    while level:
        rows = await database.read(
            "SELECT digest, depth, form, data FROM cloche.parts WHERE tenant = $1 AND digest = ANY($2::bytea[])",
            tenant,
            sorted(level),
        )
        following: set[bytes] = set()
        for digest, depth, form, data in rows:
            found[digest] = unpacked(form, data)
            if depth:
                following.update(children(found[digest]))
        level = {digest for digest in following if digest not in found and digest not in known}
    return found
