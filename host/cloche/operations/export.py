"""One run as one file: its records, the code and the guest it is pinned to, and hashes over all of it.

A file is a CBOR sequence (RFC 8742): a header `{format, version, tenant, run, workflow, code, guest}`, the two blobs (deflated,
named by digest), then `[record, hash]` for each record, and last the BLAKE2b-256 of everything before it. In front of a record
with a large body stand the parts of it that have not been there yet, `[depth, part]` each. After the records come the requests
that wait for the run (`operations.exported_requests`). Nothing in a file is trusted:
importing verifies the digest, each blob and part, the chain, that each record holds what it says, that the records make a
legal run, and that it was promised no more than a run that begins here.
"""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from typing import Any, get_args

from pydantic import ValidationError

from cloche.engines import Code, Language, mode_of
from cloche.errors import BrokenChain, ForeignFile, HistoryError, RunConflict, StoreUnavailable, UsageError
from cloche.history import Record, RunId, RunKey, RunMachine, Seq, TenantId
from cloche.history.check import decode_sequence
from cloche.history.ids import (
    BY_SCHEDULES,
    begun_by,
    continuation_key,
    first_history,
    is_derived,
    retry_key,
    stored_run_key,
)
from cloche.history.marks import marks_of_log
from cloche.history.notes import RunCreated, unpack_created
from cloche.history.payloads import children, part_digest
from cloche.history.records import HASH_BYTES, genesis, unpack_record
from cloche.history.validate_import import vet, vet_bytes
from cloche.history.values import encode, encode_plain
from cloche.operations import exported_requests
from cloche.operations.acts import Act, write_act
from cloche.operations.deflating import deflated
from cloche.operations.replay import row_of
from cloche.run.clock import SystemWorld
from cloche.run.code import load_code, load_guest
from cloche.run.meter import Tally
from cloche.run.remote import Told
from cloche.store import REMOTE, Append, Metered, NewRun, RunRow, Store, blob_digest, read_through
from cloche.tenancy import InForce, Policy
from cloche.tenancy.beside import beside
from cloche.tenancy.cache import TenantCache
from cloche.text import ID_SEPARATOR
from cloche.worker.answers import token_of
from cloche.worker.schedules import TAG

FORMAT = "cloche-run"
VERSION = 4  # 1 had no parts, 2 no requests, and 3 none of those that were accepted: all are read too
WITH_REQUESTS, WITHOUT_REQUESTS = 3, 2  # a file without what is new says so, so that older versions read it
TRIES = 10  # to read what a run has accepted while it accepts nothing
_BRINGING = TenantId("")
READ_BYTES_MAX = 32 << 20  # of files whose runs are there
BLOB_BYTES_MAX = 64 << 20  # a file may not make us inflate more than this


async def export_run(store: Store, key: RunKey) -> bytes:
    """The run as a file.

    Raises:
        NotFound: there is no such run.
        HistoryError: its records, code or guest are damaged.
        UsageError: it takes one event after the other just now; try again.
    """
    return (await packed_run(store, key, deflated)).whole


@dataclass(frozen=True, slots=True)
class PackedRun:
    """A run as a file, in pieces: `blobs` are its code and guest by digest, as they stand between `head` and `rest`."""

    head: bytes
    blobs: Mapping[str, bytes]
    rest: bytes

    @property
    def whole(self) -> bytes:
        return b"".join([self.head, *self.blobs.values(), self.rest])


async def packed_run(store: Store, key: RunKey, pack: Callable[[str, bytes], Awaitable[bytes]]) -> PackedRun:
    """`pack` gives a blob as it stands in the file, by its digest. Raises as `export_run`."""
    row, requests, granted = await _moment(store, key)
    code = await load_code(store, row.code)
    entries = await _entries(store, key, row.head_seq)
    header = {
        "code": row.code,
        "format": FORMAT,
        "guest": code.guest,
        "run": key.run,
        "tenant": key.tenant,
        "version": VERSION if granted else WITH_REQUESTS if requests else WITHOUT_REQUESTS,
        "workflow": row.workflow,
    }
    blobs = {row.code: code.pack(), code.guest: await load_guest(store, code.guest)}
    head, rest = encode(header), b"".join([*entries, *map(encode_plain, [*requests, *granted])])
    packed = PackedRun(head, {digest: await pack(digest, data) for digest, data in blobs.items()}, rest)
    return await beside(key.tenant, partial(_closed, packed))


def _closed(packed: PackedRun) -> PackedRun:
    closing = blake2b(packed.whole, digest_size=HASH_BYTES).digest()
    return replace(packed, rest=packed.rest + encode_plain(closing))


async def _moment(store: Store, key: RunKey) -> tuple[RunRow, list[list[Any]], list[list[Any]]]:
    """The entry of a run, and of the same moment the requests that wait for it and those that it has accepted.

    Accepting one is a commit of the run: while it ends where it did, nothing was accepted. Its records are read later.
    """
    for _ in range(TRIES):
        row = await row_of(store, key)
        requests, granted = (
            await exported_requests.packed(store, key),
            await exported_requests.packed_granted(store, key),
        )
        if (await row_of(store, key)).head_seq == row.head_seq:
            return row, requests, granted
    raise UsageError(f"run {key} takes events faster than it can be exported: try again when it rests")


async def _entries(store: Store, key: RunKey, head: Seq) -> list[bytes]:
    """The records of a run up to its `head`, and in front of each the parts of its body that have not been there yet."""
    found: list[bytes] = []
    written: set[bytes] = set()

    def take(page: list[Record]) -> None:
        for record in page:
            if record.seq <= head:
                found.extend(encode_plain(part) for part in _new_parts(record, written))
                found.append(encode_plain([record.packed, record.hash]))

    await read_through(store, key, take)
    return found


def _new_parts(record: Record, written: set[bytes]) -> Iterator[list[Any]]:
    """The parts of a record's body that are not in `written`, which grows by them."""
    payload = record.payload
    level = [payload.root] if payload is not None else []
    depth = payload.depth if payload is not None else 0
    while payload is not None and level:
        fresh = [digest for digest in dict.fromkeys(level) if digest not in written]
        written.update(fresh)
        yield from ([depth, payload.parts[digest]] for digest in fresh)
        level = [child for digest in fresh for child in children(payload.parts[digest])] if depth else []
        depth -= 1


async def import_run(
    store: Store,
    data: bytes,
    policies: InForce | None = None,
    is_ours: Callable[[str], bool] = lambda _: False,
    by: str = "",
    check_room: Callable[[TenantId, int], Awaitable[None]] | None = None,
) -> RunKey:
    """Put the run of a file into `store`; a run that is there already, and equal, is left alone.

    A file could call any code the host's. So code without an owner is from then on that of the run's tenant, unless it is in
    this store already or `is_ours`.

    Args:
        policies: what runs may be pinned to here; None takes any.
        is_ours: whether a bundle of this digest is the host's own.
        by: who brings it, for the audit log.
        check_room: whether the tenant may have so many bytes more in the store; raises `LimitExceeded`.

    Raises:
        ForeignFile: it is not an exported run, is damaged, of a newer version, or pinned to more than that.
        BrokenChain: its records are not a chain of records.
        RunConflict: the store has this run with other records.
        LimitExceeded, InboxFull: the run is there, and its policy does not allow what waits for it.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise ForeignFile("an exported run is bytes, and this is text: read the file in binary mode")
    file = await _file_of(store, data)
    header, blobs, key, created, code = file.header, file.blobs, file.key, file.created, file.code
    digest = header["code"]
    becomes_theirs = not code.owner and not is_ours(digest) and await store.blob(digest) is None
    if policies is not None:
        is_deployed = (becomes_theirs or bool(code.owner)) and not await _is_wide(store, key, code, digest)
        _check_policy(created, code, policies.of(key.tenant, is_deployed=is_deployed))
    if becomes_theirs:
        packed = replace(code, owner=key.tenant).pack()
        digest = blob_digest(packed)
        blobs = {code.guest: blobs[code.guest], digest: packed}
    if await store.run(key) is None and check_room is not None:
        await check_room(key.tenant, file.tally.usage().log_bytes + len(blobs[digest]))
    await _put(store, file, NewRun(header["workflow"], digest, blobs), by)
    await exported_requests.post(store, key, created, file.requests, file.granted)
    return key


async def _file_of(store: Store, data: bytes) -> _File:
    """What a file holds. One that was read before is not read again where the store has its run: without records and blobs.

    Beside the loop: a large file is somebody's pause. Whose it is it says itself, so those who bring files have one place.
    Raises as `import_run`.
    """
    digest = await beside(_BRINGING, lambda: blake2b(data, digest_size=HASH_BYTES).digest())
    known = _read_before.get(digest)
    if known is not None and known.is_whole_in(await store.run(known.key)):
        return known
    file = await beside(_BRINGING, partial(_File.read, data))
    slim = replace(file, records=[], blobs=dict.fromkeys(file.blobs, b""))
    _read_before.put(digest, slim, len(data), "")
    return file


@dataclass(frozen=True, slots=True)
class _File:
    """What a file holds, all of it checked, and what follows from its records."""

    header: Mapping[str, Any]
    blobs: dict[str, bytes]
    key: RunKey
    created: RunCreated
    code: Code
    records: list[Record]
    machine: RunMachine
    marks: Mapping[str, str]
    tally: Tally
    requests: Sequence[Any]
    granted: Sequence[Any]

    def is_whole_in(self, row: RunRow | None) -> bool:
        """Whether a store that has the run so has all of its records."""
        machine = self.machine
        return row is not None and (row.head_seq, row.head_hash) == (machine.head_seq, machine.head_hash)

    @classmethod
    def read(cls, data: bytes) -> _File:
        """Raises as `import_run`. It takes as long as there are records: nothing of it is done on an event loop."""
        header, blobs, items = _read(data)
        key = _key_of(header)
        granted, items = exported_requests.unpacked_granted(items, key)
        pairs = [item for item in items if not exported_requests.is_request(item)]
        records, machine = _verified(key, pairs)
        created, code = unpack_created(records[0]), _code_of(blobs[header["code"]])
        _check_created(key, created, header["workflow"])
        requests = exported_requests.unpacked(items[len(pairs) :], key, created)
        _check_requests(requests, machine)
        marks = marks_of_log(records, machine.open.failed_at)
        return cls(header, blobs, key, created, code, records, machine, marks, Tally.of(records), requests, granted)


_read_before: TenantCache[bytes, _File] = TenantCache(READ_BYTES_MAX)


async def _is_wide(store: Store, key: RunKey, code: Code, digest: str) -> bool:
    """Whether it is the code of a version that keeps the policy of registered workflows."""
    versions = await store.versions(key.tenant, code.workflow) if code.owner else []
    return any(version.digest == digest and version.is_wide for version in versions)


def _check_requests(requests: Sequence[object], machine: RunMachine) -> None:
    if requests and machine.ended:
        raise ForeignFile("the run in this file has ended, and requests wait for it: nobody would ever take them")


async def _put(store: Store, file: _File, new: NewRun, by: str) -> None:
    """The run with its records, unless the store has it. It is billed for its log; what it took elsewhere nobody knows."""
    key, records, machine = file.key, file.records, file.machine
    row = await store.run(key)
    if file.is_whole_in(row):
        return
    if not records:
        raise StoreUnavailable(f"run {key} was removed while its file was imported: import it again")
    if row is not None:
        raise RunConflict(f"run {key} is in this store already, with other records", run_id=key.run)
    await write_act(store, Act.IMPORTED, by, SystemWorld().now(), key.tenant, run=key.run, code=new.code)
    awaited = sorted(machine.open.awaited)
    append = Append(key, Seq(0), records, machine.status, machine.wake_at, records[-1].time, new, awaited=awaited)
    append = replace(append, marks=file.marks, metered=Metered(file.tally.usage(), None))
    [problem] = await store.commit([append])
    if problem is not None:
        raise problem
    for call in machine.open.away:  # what was sent to a worker of the other store is nothing that this one knows of
        one = machine.open[call]
        silent = Told(call, one.sent, "silent")
        await store.post(key, REMOTE, silent.pack(), token_of(key, REMOTE, f"{call}:imported"), SystemWorld().now())


def _key_of(header: Mapping[str, Any]) -> RunKey:
    try:
        key = stored_run_key(header["run"], header["tenant"])
    except (UsageError, TypeError) as error:
        raise ForeignFile("the run in this file has no name that a run can have") from error
    if (key.run, key.tenant) != (header["run"], header["tenant"]):
        raise ForeignFile("the run in this file has a name that Unicode writes in another way (NFC)")
    return key


def _check_created(key: RunKey, created: RunCreated, workflow: str) -> None:
    if created.workflow != workflow:
        raise ForeignFile("the records in this file are not of the workflow that its header says")
    first = first_history(key)
    is_begun = _is_child(first, created) or _is_retry(first, created) or _is_scheduled(first, created)
    is_known = not is_derived(first.run) or is_begun
    if first != key:
        before = created.continues
        is_known &= bool(before) and continuation_key(RunKey(key.tenant, RunId(before))) == key
    if not is_known:
        raise ForeignFile(
            "the run in this file has an id that the system gives, and its records do not say from which run"
        )


def _is_child(key: RunKey, created: RunCreated) -> bool:
    parent, call = created.parent.get("run"), created.parent.get("call")
    if not isinstance(parent, str) or type(call) is not int:
        return False
    begun = begun_by(key)
    return begun is not None and begun[0].run == parent and (isinstance(begun[1], str) or begun[1] == call)


def _is_retry(key: RunKey, created: RunCreated) -> bool:
    run = created.retry_of.get("run")
    return isinstance(run, str) and retry_key(RunKey(key.tenant, RunId(run))) == key


def _is_scheduled(key: RunKey, created: RunCreated) -> bool:
    schedule, _, instant = key.run.partition(ID_SEPARATOR)
    return instant[:1] in BY_SCHEDULES and instant[1:].isdecimal() and created.tags.get(TAG) == schedule


def _code_of(packed: bytes) -> Code:
    """A bundle that somebody else has packed.

    Raises:
        ForeignFile: its parts are not what they are called.
    """
    code = Code.unpack(packed)
    texts = (code.workflow, code.guest, code.source, code.graph, code.owner)
    is_whole = all(isinstance(text, str) for text in texts) and code.language in get_args(Language)
    if not is_whole or not all(type(line) is int and isinstance(node, str) for line, node in code.lines.items()):
        raise ForeignFile("the code in this file is no code of a workflow")
    return code


def _check_policy(created: RunCreated, code: Code, most: Policy) -> None:
    """A file could promise its run a year of computing, all memory, and every step; and functions that run on the host."""
    if mode_of(code) == "host-closures" and not most.host_closures:
        raise ForeignFile(
            "the run in this file has functions that run on the host, which its tenant's policy does not allow"
        )
    try:
        promised = Policy.of(created.limits, created.policy)
    except (ValidationError, TypeError) as error:
        raise ForeignFile("the run in this file was promised what no policy can promise") from error
    if (wider := promised.wider_than(most)) is not None:
        raise ForeignFile(
            f"the run in this file was promised {wider} {getattr(promised, wider)!r}, and a run of its tenant that begins here "
            f"gets {getattr(most, wider)!r}: give the tenant another policy if you want it"
        )


def _read(data: bytes) -> tuple[dict[str, Any], dict[str, bytes], list[list[Any]]]:
    """Header, blobs by digest, and record pairs, all checked against the file's own digests."""
    digest_item = HASH_BYTES + 2  # a byte string of 32: two bytes of head
    body, closing = data[:-digest_item], data[-digest_item:]
    if len(data) < digest_item or encode_plain(blake2b(body, digest_size=HASH_BYTES).digest()) != closing:
        raise ForeignFile("this is not a whole exported run: its closing digest does not fit; export it again")
    try:
        header, code, guest, *pairs = decode_sequence(body)
        if header["format"] != FORMAT or not _is_known(header["version"]):
            raise ForeignFile(
                f"this file has format {header['format']} {header['version']}; a newer cloche may read it"
            )
        blobs = {blob_digest(blob): blob for blob in (_inflated(code), _inflated(guest))}
        if (
            set(blobs) != {header["code"], header["guest"]}
            or Code.unpack(blobs[header["code"]]).guest != header["guest"]
        ):
            raise ForeignFile("the code or guest in this file is not what its header says")
        if Code.unpack(blobs[header["code"]]).owner not in ("", header["tenant"]):
            raise ForeignFile("the code in this file is that of another tenant than its header says")
    except ForeignFile:
        raise
    except Exception as error:
        raise ForeignFile("this is not an exported run: its parts cannot be read") from error
    return header, blobs, pairs


def _is_known(version: Any) -> bool:
    return type(version) is int and 1 <= version <= VERSION  # `True` equals 1


def _inflated(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    blob = inflater.decompress(data, BLOB_BYTES_MAX)
    if not inflater.eof:
        raise ForeignFile(f"a part of this file is larger than {BLOB_BYTES_MAX >> 20} MiB when it is unpacked")
    return blob


def _verified(key: RunKey, pairs: list[Any]) -> tuple[list[Record], RunMachine]:
    machine = RunMachine(key)
    records: list[Record] = []
    parts: dict[bytes, bytes] = {}
    for pair in pairs:
        number = len(records) + 1
        try:
            first, second = pair
            if isinstance(first, int):
                parts[part_digest(first, second)] = second
                continue
            vet_bytes(first, number)
            record = unpack_record(
                first, second, previous=machine.head_hash, expected=Seq(number), find=parts.get, known=parts
            )
            vet(record)
            machine.absorb(record)
        except HistoryError:
            raise
        except Exception as error:
            raise BrokenChain(f"record {number} of this file cannot be read: {error}", seq=number) from error
        records.append(record)
    if not records or machine.head_hash == genesis(key):
        raise ForeignFile("this file holds no records")
    if unneeded := parts.keys() - _needed(records):
        raise ForeignFile(f"this file holds {len(unneeded)} parts that no record in it needs")
    return records, machine


def _needed(records: list[Record]) -> set[bytes]:
    """The digests of all parts that the bodies of these records consist of."""
    needed: set[bytes] = set()
    for record in records:
        for _ in _new_parts(record, needed):
            pass
    return needed
