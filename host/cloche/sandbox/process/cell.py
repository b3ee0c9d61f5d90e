"""A cell whose memory is in another process: the host's side of it. Nothing that comes from there is believed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

from cloche.errors import (
    CellBusy,
    CellGone,
    CellLost,
    ClocheError,
    FuelExhausted,
    GuestFault,
    GuestTrapped,
    HeavyTurn,
    InvalidInput,
    LimitExceeded,
    LoadFailed,
    MalformedOutput,
    MemoryExhausted,
    OutputTooLarge,
    StackExhausted,
    TimeExhausted,
)
from cloche.history.check import check
from cloche.history.failures import Failure
from cloche.history.ids import TenantId
from cloche.history.values import decode, encode_plain
from cloche.sandbox import Limits
from cloche.sandbox.cells import LIGHT_CELL_BYTES, RESIDENT_BYTES
from cloche.sandbox.images import digest_of_source, image_digest, portable
from cloche.sandbox.process.child import TEXT_BYTES_MAX, Child, gone
from cloche.sandbox.process.pool import Pool
from cloche.sandbox.process.wire import BODY_BYTES_MAX, Answer, Op, Status, Timeout, joined
from cloche.sandbox.saved import read

EVENT_BYTES_MAX = (8 << 20) + 1  # the output window of a guest, and the mark that closes an event
CODES_MAX = 256  # that a process is taken to have at hand
LIGHT_OPENING_BYTES = 64 << 10  # of a frozen cell that is thawed on the event loop's thread
_STATE_HASH = re.compile(rb"[0-9a-f]{64}")
_FAULTS: dict[str, type[ClocheError]] = {
    kind.code: kind
    for kind in (
        GuestFault,
        FuelExhausted,
        TimeExhausted,
        MemoryExhausted,
        StackExhausted,
        GuestTrapped,
        MalformedOutput,
        OutputTooLarge,
        LoadFailed,
        LimitExceeded,
        InvalidInput,
    )
}
_FACTS = {"asked", "failure", "limit", "value"}


class ProcessCell:
    """Implements `Cell` of `engines.protocol`; it is made when it is first used, in the process that its tenant has then."""

    __slots__ = ("__weakref__", "_child", "_copies", "_number", "_opening", "_resident_bytes", "_unmade", "fuel_used")

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._unmade = True
        self._child: Child | None = None
        self._number = self._copies = 0
        self._resident_bytes = RESIDENT_BYTES
        self.fuel_used = opening.fuel_used

    def make(self) -> None:
        """Make it now.

        Raises:
            GuestFault: its guest or its code does not load.
            CellLost: its process ended over it.
        """
        self._home()

    def turn(self, events: Sequence[bytes], *, light: bool = False) -> bytes:
        """As `cloche.sandbox.Cell.turn`.

        Raises:
            CellBusy: a light turn cannot be made now. The cell is as it was.
            CellLost: its process ended over the turn, or did not answer.
            CellGone: its process had ended before.
        """
        count, limits = len(events), self._opening.limits
        bytes_max = min(count * EVENT_BYTES_MAX, BODY_BYTES_MAX)
        if light:
            answer = self._light_turn(events, bytes_max)
        else:
            wait_s = count * limits.wall_ms_per_event / 1000
            child = self._home()
            answer = child.ask(Op.TURN, self._number, joined(events), count, wait_s=wait_s, bytes_max=bytes_max)
        if answer.status is Status.BUSY and light:
            raise CellBusy
        if answer.status is not Status.DONE:
            child = self._let_go()
            if answer.status is Status.HEAVY and light:
                raise HeavyTurn
            raise_fault(answer, child)
        if answer.fuel > count * limits.fuel_per_event:
            raise self._distrusted(f"{answer.fuel} of fuel for {count} events")
        self.fuel_used += answer.fuel
        if answer.resident_bytes:
            self._resident_bytes = min(answer.resident_bytes, limits.memory_bytes)
        return answer.body

    def _light_turn(self, events: Sequence[bytes], bytes_max: int) -> Answer:
        if self._unmade:
            made = self._opening.made_at_once()
            if made is None:
                raise CellBusy
            self._take(*made)
        if self._child is None:
            raise gone()
        try:
            answer = self._child.light(Op.LIGHT_TURN, self._number, joined(events), len(events), bytes_max=bytes_max)
        except Timeout:
            self._let_go()
            raise HeavyTurn from None
        if answer is None:
            raise CellBusy
        return answer

    def freeze(self) -> Callable[[], tuple[str, bytes]] | None:
        """As `cloche.sandbox.Cell.freeze`; None while its process is at something else, or gone."""
        child = self._child
        if child is None:
            return None
        self._copies += 1
        is_large = self._resident_bytes > LIGHT_CELL_BYTES  # which the thread that asks for it knows too, and can wait
        try:
            if is_large:
                answer: Answer | None = child.ask(Op.FREEZE, self._number, b"", self._copies, wait_s=0, bytes_max=0)
            else:
                answer = child.light(Op.FREEZE, self._number, b"", self._copies, bytes_max=0)
        except (Timeout, CellLost):
            return None
        return partial(self._packed, self._copies) if answer is not None and answer.status is Status.DONE else None

    def _packed(self, copy: int) -> tuple[str, bytes]:
        """State hash and frozen cell, as they are stored.

        Raises:
            CellLost, CheckpointRejected: there is nothing that could be kept.
        """
        opening, limits = self._opening, self._opening.limits
        body = self._asked(Op.PACK, 2 * limits.memory_bytes, copy)
        state_hash, frozen = body[:64], body[64:]
        if not _STATE_HASH.fullmatch(state_hash) or not is_one_item(frozen):
            raise self._distrusted("a frozen cell that is none")
        read(image_digest(opening.guest, digest_of_source(opening.source)), frozen, limits.memory_bytes)
        return state_hash.decode(), frozen

    def state_hash(self) -> str:
        state_hash = self._asked(Op.STATE_HASH, 64)
        if not _STATE_HASH.fullmatch(state_hash):
            raise self._distrusted("a state hash that is none")
        return state_hash.decode()

    @property
    def resident_bytes(self) -> int:
        """About what the cell takes of its process's memory, as that says."""
        return self._resident_bytes

    def _asked(self, op: Op, bytes_max: int, copy: int = 0) -> bytes:
        child = self._home()
        answer = child.ask(op, self._number, b"", copy, wait_s=0, bytes_max=bytes_max)
        if answer.status is not Status.DONE:
            raise_fault(answer, child)
        return answer.body

    def _home(self) -> Child:
        if self._unmade:
            self._take(*self._opening.made())
        if self._child is None:
            raise gone()
        return self._child

    def _take(self, child: Child, number: int) -> None:
        self._child, self._number, self._unmade = child, number, False
        self._opening.frozen = b""

    def _let_go(self) -> Child:
        child, self._child = self._child, None
        assert child is not None
        child.forget(self._number)
        return child

    def _distrusted(self, what: str) -> CellLost:
        assert self._child is not None
        return _distrusted(self._child, what)

    def __del__(self) -> None:
        if self._child is not None:
            self._child.forget(self._number)


class Opening:
    """What a cell is made from, wherever that is: a guest by its digest (`wasm` reads it) and a source. `frozen` is the cell
    that it goes on from, or nothing.

    Raises:
        CheckpointRejected: that is of other code, another guest or format.
    """

    __slots__ = ("_pool", "_source_digest", "_tenant", "_wasm", "frozen", "fuel_used", "guest", "limits", "source")

    def __init__(
        self,
        pool: Pool,
        tenant: TenantId,
        guest: str,
        source: str,
        wasm: Callable[[], bytes],
        limits: Limits,
        frozen: bytes,
    ) -> None:
        self._pool, self._tenant, self._wasm = pool, tenant, wasm
        self.guest, self.source = guest, source
        self._source_digest = digest_of_source(source)
        self.limits, self.frozen, self.fuel_used = limits, frozen, 0
        if frozen:
            digest = image_digest(guest, self._source_digest)
            self.fuel_used = read(digest, frozen, limits.memory_bytes).fuel_used

    def made(self) -> tuple[Child, int]:
        """The process that the cell is in now, and its number there. Starts the process and loads guest and source if need be.

        Raises:
            GuestFault: the guest or the source does not load.
            CellLost: the process ended over it.
        """
        while True:
            child = self._pool.child(self._tenant)
            try:
                return child, self._made_in(child)
            except CellGone:  # before it knew of this cell: a new process takes its place
                continue

    def made_at_once(self) -> tuple[Child, int] | None:
        """As `made`, if everything that takes long was done before."""
        child = self._pool.living(self._tenant)
        if child is None or self._key not in child.codes or len(self.frozen) > LIGHT_OPENING_BYTES:
            return None
        cell = child.admit(self.limits.memory_bytes)
        try:
            answer = child.light(Op.OPEN, cell, self._body(), 0, bytes_max=0)
        except (Timeout, CellGone):
            answer = None
        if answer is None:
            child.forget(cell)
            return None
        _done(answer, child, cell)
        return child, cell

    def _made_in(self, child: Child) -> int:
        wall_s, guest = self.limits.wall_ms_per_event / 1000, self.guest
        if guest not in child.guests:
            compiled = portable(guest, self._wasm())
            answer = child.ask(Op.GUEST, 0, guest.encode(), 0, wait_s=wall_s, bytes_max=0, then=compiled)
            _done(answer, child, 0)
            child.guests.add(guest)
        cell = child.admit(self.limits.memory_bytes)
        _done(child.ask(Op.OPEN, cell, self._body(), 0, wait_s=2 * wall_s, bytes_max=0), child, cell)
        if len(child.codes) >= CODES_MAX:
            child.codes.clear()
        child.codes.add(self._key)
        return cell

    @property
    def _key(self) -> tuple[str, str, Limits]:
        return self.guest, self._source_digest, self.limits

    def _body(self) -> bytes:
        limits = self.limits.to_data()
        return encode_plain({"guest": self.guest, "source": self.source, "limits": limits, "frozen": self.frozen})


def _done(answer: Answer, child: Child, cell: int) -> None:
    if answer.status is not Status.DONE:
        child.forget(cell)
        raise_fault(answer, child)


def raise_fault(answer: Answer, child: Child) -> NoReturn:
    """Raise the fault that an answer reports. Only the kinds in `_FAULTS` are taken from a process, with facts in `_FACTS`."""
    body = answer.body if answer.status is Status.FAULT and len(answer.body) <= TEXT_BYTES_MAX else b""
    wire = decode(body) if is_one_item(body) else None
    match wire:
        case [str(code), str(message), dict(facts)] if code in _FAULTS and facts.keys() <= _FACTS:
            if isinstance(failure := facts.pop("failure", None), dict):
                facts["failure"] = Failure.from_wire(failure)
            raise _FAULTS[code](message, **facts)
    raise _distrusted(child, "a fault that is none")


def _distrusted(child: Child, what: str) -> CellLost:
    child.end()
    return CellLost(f"the process of the workflow's cell answered with {what}, and was ended")


def is_one_item(data: bytes) -> bool:
    """Whether these bytes, which came out of a process, can be decoded."""
    try:
        return check(data) == len(data)
    except MalformedOutput:
        return False
