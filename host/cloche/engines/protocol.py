"""The low seam: what runs a workflow's code, one turn at a time. Lowering, history, store and runtime are the same above it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from cloche.history.ids import TenantId
from cloche.history.values import decode, encode

Language = Literal["javascript", "python"]


@dataclass(frozen=True, slots=True)
class Code:
    """What a run is pinned to, and all that is needed to go on with it: its bundle is a blob of the store.

    `guest` is the digest of the guest's wasm, a blob of its own. `lines` gives for a line of `source` its graph node.
    `language` is what `source` is written in.
    """

    workflow: str
    guest: str
    source: str
    lines: dict[int, str]
    graph: str  # JSON
    language: Language = "javascript"
    owner: str = ""  # the tenant that brought it; none for the host's own

    def pack(self) -> bytes:
        lines = [[line, node] for line, node in sorted(self.lines.items())]
        wire: dict[str, Any] = {
            "workflow": self.workflow,
            "guest": self.guest,
            "source": self.source,
            "lines": lines,
            "graph": self.graph,
        }
        if self.language != "javascript":  # bundles from before there was another stay as they are
            wire["language"] = self.language
        if self.owner:
            wire["owner"] = self.owner
        return encode(wire)

    @classmethod
    def unpack(cls, data: bytes) -> Code:
        wire: dict[str, Any] = decode(data)
        language = wire.get("language", "javascript")
        lines, owner = dict(wire["lines"]), wire.get("owner", "")
        return cls(wire["workflow"], wire["guest"], wire["source"], lines, wire["graph"], language, owner)


class Cell(Protocol):
    """One live run of some code."""

    fuel_used: int

    def turn(self, events: Sequence[bytes], *, light: bool = False) -> bytes:
        """Deliver packed events in order and return what was asked for, as `guest/ABI.md` says.

        A `light` turn may take a few milliseconds; one that takes longer is stopped, and can be made again on another cell.

        Raises:
            HeavyTurn: it was not light. The cell must be dropped.
            CellBusy: it cannot be made as a light one now. The cell is as it was.
            CellGone: the cell was lost while it rested. Make the turn on another.
            GuestFault: the cell was stopped and must be dropped.
        """

    def state_hash(self) -> str: ...

    def freeze(self) -> Callable[[], tuple[str, bytes]] | None:
        """What packs the cell as it is now, later and in any thread: its state hash, and bytes for `thaw`.

        None where the engine cannot.
        """

    @property
    def resident_bytes(self) -> int:
        """About what the cell takes of the process's memory."""


class CellSource(Protocol):
    """An engine: where cells come from."""

    name: str

    @property
    def meter(self) -> str | None:
        """What counts fuel: the same events burn as much under the same guest and meter. None where nothing is counted."""

    def guest(self, language: Language = "javascript") -> tuple[str, bytes]:
        """Digest and wasm of the guest that new runs of code in `language` are pinned to.

        Raises:
            GuestUnavailable: it is not installed, and cannot be built.
        """

    def limits(self) -> dict[str, int]:
        """What new runs are pinned to."""

    def load(self, code: Code, guest: Callable[[], bytes], limits: dict[str, Any], tenant: TenantId) -> None:
        """Have `code` at hand for cells to come. May take long: for another thread than the event loop's.

        Raises:
            LoadFailed: it does not load.
        """

    def open(self, code: Code, guest: Callable[[], bytes], limits: dict[str, Any], tenant: TenantId) -> Cell:
        """A fresh cell of a run of `tenant`, with `code` loaded. `guest` gives the wasm of `code.guest` if it is not at hand.

        Whose run it is, the host says and never the guest: an engine may keep the cells of tenants apart. It may also make the
        cell when it is first used, and load the code only then.

        Raises:
            LoadFailed: the code does not load.
        """

    def thaw(
        self, code: Code, guest: Callable[[], bytes], limits: dict[str, Any], tenant: TenantId, frozen: bytes
    ) -> Cell | None:
        """The cell that was frozen into these bytes, which the caller has authenticated; None where the engine cannot.

        Raises:
            CheckpointRejected: they are of other code, another guest or format.
        """
