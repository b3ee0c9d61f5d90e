"""Checkpoints: a run's cell and machine at a position of its log, so that what lies before need not be replayed.

A checkpoint is an optimisation beside the log and never the truth. It is bound by a MAC to (tenant, run, position, head of the
chain, image, state of the guest) under a secret that only this user's processes on this machine have: whoever can write to the
store cannot make one. On any doubt (unreadable, another secret, other code, a tail that diverges) the run is replayed in full,
and that checkpoint is never looked at again.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeAlias

from cloche.errors import CheckpointRejected
from cloche.history import RunKey, Seq
from cloche.history.bounds import exceeded
from cloche.history.records import chained
from cloche.history.values import decode, encode_plain
from cloche.sandbox import secret

if TYPE_CHECKING:
    from cloche.history import RunMachine

FORMAT = 3
EVENTS_BETWEEN = 500  # a tail this long replays in under 5 ms; a checkpoint costs about as much as 50 events
FUEL_BETWEEN = 300_000_000  # 20 to 30 ms of computing: few events that compute much are as dear to replay as many
EVENTS_WORTH_KEEPING = 64  # when a cell is evicted: fewer are replayed as fast as a checkpoint is read
OPEN_CALLS_MAX = (
    1_000  # of a run with more there is none, until they are fewer: to take one down holds the loop for 35 ms
)
_MAC_BYTES = 32
Frozen: TypeAlias = Callable[[], tuple[str, bytes]]  # as `Cell.freeze` gives it


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`machine` and `cell` are what `RunMachine.saved` and `Cell.freeze` gave at record `seq`; `state_hash` is the cell's."""

    seq: Seq
    state_hash: str
    machine: bytes
    cell: bytes


def taken(
    key: RunKey, machine: RunMachine, freeze: Callable[[], Frozen | None], bytes_max: int
) -> Callable[[], bytes | None]:
    """Take a checkpoint now, of a cell that stays as it is until it was asked to `freeze`.

    What comes back packs it, in any thread; it gives None where the engine cannot freeze a cell.

    Raises (what comes back):
        LimitExceeded: it has more than `bytes_max`.
    """
    seq, saved = machine.head_seq, machine.saved()

    def pack() -> bytes | None:
        frozen = freeze()
        if frozen is None:
            return None
        state_hash, data = frozen()
        packed = sealed(key, Checkpoint(seq, state_hash, saved, data))
        if len(packed) > bytes_max:
            raise exceeded("checkpoint_bytes", bytes_max, len(packed), f"a checkpoint of run {key.run}")
        return packed

    return pack


def sealed(key: RunKey, checkpoint: Checkpoint) -> bytes:
    content = encode_plain([FORMAT, *(getattr(checkpoint, name) for name in checkpoint.__dataclass_fields__)])
    return _mac(key, content) + content


def opened(key: RunKey, data: bytes) -> Checkpoint:
    """The checkpoint of run `key` that is in `data`. Which code it is of, `thaw` checks.

    Raises:
        CheckpointRejected: it was not made here, or for something else.
    """
    mac, content = data[:_MAC_BYTES], data[_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(key, content)):
        raise CheckpointRejected("it was not made by this user's cloche on this machine for this run")
    version, *fields = decode(content)
    if version != FORMAT:
        raise CheckpointRejected(f"it has format {version}, and this cloche reads {FORMAT}")
    return Checkpoint(*fields)


def check_joint(machine: RunMachine, head_hash: bytes, first: tuple[bytes, bytes] | None) -> None:
    """Whether the log goes on from a restored machine: by the hash of its head, or of what follows.

    Raises:
        CheckpointRejected: it does not.
    """
    if first is None:
        if machine.head_hash != head_hash:
            raise CheckpointRejected("the log does not have its last record")
    elif chained(machine.head_hash, first[0]) != first[1]:
        raise CheckpointRejected("the log does not go on from it")


def _mac(key: RunKey, content: bytes) -> bytes:
    bound = encode_plain(["cloche checkpoint", key.tenant, key.run])
    return blake2b(bound + content, key=secret(), digest_size=_MAC_BYTES).digest()
