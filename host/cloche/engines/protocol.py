"""The low seam: what runs a workflow's code, one turn at a time. Everything above it is the same for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from cloche.engines.code import Code, Language
from cloche.history.check import Validator
from cloche.history.ids import TenantId
from cloche.history.limits import Limits
from cloche_guest import abi_of


class Cell(Protocol):
    """One live run of some code."""

    fuel_used: int  # of its events since it was begun, in the units of the engine's meter

    def turn(self, events: Sequence[bytes], *, light: bool = False) -> bytes:
        """Deliver packed events in order and return what was asked for, as `guest/ABI.md` says.

        A `light` turn may take a few milliseconds; one that takes longer is stopped, and can be made again on another cell.

        Raises:
            HeavyTurn: it was not light. The cell must be dropped.
            CellBusy: it cannot be made as a light one now. The cell is as it was.
            CellGone: the cell was lost while it rested. Make the turn on another.
            GuestFault: the cell was stopped and must be dropped.
        """

    def state_hash(self) -> str:
        """BLAKE2b-256 of the cell's state in hex: equal hashes mean an equal future."""

    def freeze(self) -> Callable[[], tuple[str, bytes]] | None:
        """What packs the cell as it is now, later and in any thread: its state hash, and bytes for `thaw`.

        None where the engine cannot.
        """

    @property
    def resident_bytes(self) -> int:
        """About what the cell takes of the process's memory."""


class CellSource(Protocol):
    """An engine: where cells come from."""

    name: str  # as `cloche bench` and the tests show it

    @property
    def meter(self) -> str | None:
        """What counts fuel: the same events burn as much under the same guest and meter. None where nothing is counted."""

    @property
    def validator(self) -> Validator | None:
        """What checks large outputs of guests faster than `history.check`, where there is such."""

    def guest(self, language: Language = "javascript") -> tuple[str, bytes]:
        """Digest and wasm of the guest that new runs of code in `language` are pinned to.

        Raises:
            GuestUnavailable: it is not installed, and cannot be built.
        """

    def limits(self) -> Limits:
        """What new runs are pinned to; that of a policy without bounds where nothing is limited."""

    def load(self, code: Code, guest: Callable[[], bytes], limits: Limits, tenant: TenantId) -> None:
        """Have `code` at hand for cells to come. May take long: for another thread than the event loop's.

        Raises:
            LoadFailed: it does not load.
        """

    def open(self, code: Code, guest: Callable[[], bytes], limits: Limits, tenant: TenantId) -> Cell:
        """A fresh cell of a run of `tenant`, with `code` loaded. `guest` gives the wasm of `code.guest` if it is not at hand.

        Whose run it is, the host says and never the guest: an engine may keep the cells of tenants apart. It may also make the
        cell when it is first used, and load the code only then.

        Raises:
            LoadFailed: the code does not load.
        """

    def thaw(
        self, code: Code, guest: Callable[[], bytes], limits: Limits, tenant: TenantId, frozen: bytes
    ) -> Cell | None:
        """The cell that was frozen into these bytes, which the caller has authenticated; None where the engine cannot.

        Raises:
            CheckpointRejected: they are of other code, another guest or format.
        """


def pinned_guest(engine: CellSource, language: Language) -> tuple[str, int]:
    """Digest and ABI of the guest that new runs of code in `language` are pinned to.

    Raises:
        GuestUnavailable: it is not installed, and cannot be built.
    """
    digest, wasm = engine.guest(language)
    if digest not in _abis:
        _abis[digest] = abi_of(wasm)
    return digest, _abis[digest]


_abis: dict[str, int] = {}  # by digest
