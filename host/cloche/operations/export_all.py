"""All runs of a store in one file, to move them to another store or to keep them.

The file is a ZIP archive without compression (what is large in it is deflated already). Each run is in it as `cloche export`
writes it, but that code and guests, which many share, are there once: `runs/N` has what stands before and after them in the
file of a run, `blobs/DIGEST` what stands between. `starts` has the requests that wait for runs which are not there yet, and
`schedules` what begins runs at set times. Nothing in it is trusted: each run is put together again, with its closing digest,
and checked as one that comes alone (`operations.export`).

Whoever exports while workers are at work has each run as it was at some moment, not all of one moment.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZIP_STORED, ZipFile, is_zipfile

from cloche.errors import ClocheError, ForeignFile, InvalidInput, NotFound, StoreError
from cloche.history import RunKey
from cloche.history.check import decode_sequence
from cloche.history.ids import new_run_key, stored_run_key, tenant_id
from cloche.history.values import encode_plain
from cloche.operations import exported_requests
from cloche.operations.deflating import deflated
from cloche.operations.export import import_run, packed_run
from cloche.store import HELD_BACK, START, InboxRow, ScheduleRow, Store
from cloche.tenancy import InForce
from cloche.text import shown
from cloche.worker.schedule_spec import ScheduleSpec

_PAGE = 1_000
_STARTS = "starts"
_SCHEDULES = "schedules"


@dataclass(frozen=True, slots=True)
class Moved:
    """One run of many: the `number`th of `count`. `error`: why it was left out."""

    key: RunKey
    number: int
    count: int
    error: ClocheError | None = None


async def export_all(store: Store, target: Path, tenant: str | None = None) -> AsyncIterator[Moved]:
    """Write all runs, or those of one tenant, to the file `target`; gives each when it is written. Damaged ones are left out.

    Raises:
        InvalidInput: the file cannot be written.
    """
    part = target.with_name(f"{target.name}.part")
    try:
        with ZipFile(part, "w", ZIP_STORED) as archive:
            keys = await _keys(store, tenant)
            blobs = _Blobs(archive)
            for number, key in enumerate(keys, 1):
                try:
                    run = await packed_run(store, key, blobs.packed)
                except NotFound:  # it was deleted meanwhile
                    continue
                except ClocheError as error:
                    yield Moved(key, number, len(keys), error)
                    continue
                archive.writestr(f"runs/{number}", encode_plain(run.head) + encode_plain(run.rest))
                yield Moved(key, number, len(keys))
            starts = await _early(store, set(keys), tenant)
            archive.writestr(_STARTS, b"".join(map(encode_plain, exported_requests.packed_starts(starts))))
            archive.writestr(_SCHEDULES, b"".join([_packed_schedule(row) for row in await _schedules(store, tenant)]))
        os.replace(part, target)  # whole or not at all
    except OSError as error:
        raise InvalidInput(f"the file {target} cannot be written: {error.strerror}", path="") from error


class _Blobs:
    """Code and guests, which are written when they are first met."""

    def __init__(self, archive: ZipFile) -> None:
        self._archive = archive
        self._written: dict[str, bytes] = {}

    async def packed(self, digest: str, data: bytes) -> bytes:
        if digest not in self._written:
            self._written[digest] = await deflated(digest, data)
            self._archive.writestr(f"blobs/{digest}", self._written[digest])
        return self._written[digest]


async def _keys(store: Store, tenant: str | None) -> list[RunKey]:
    """Of all runs, by tenant, the oldest first, so that they are listed elsewhere in the order that they have here."""
    tenants = [usage.tenant for usage in await store.usage()] if tenant is None else [tenant]
    found: list[RunKey] = []
    for one in tenants:
        newest_first: list[RunKey] = []
        while True:
            after = newest_first[-1].run if newest_first else None
            rows = await store.runs(tenant=one, limit=_PAGE, after=after)
            newest_first += [row.key for row in rows]
            if len(rows) < _PAGE:
                break
        found += reversed(newest_first)
    return found


async def _early(store: Store, keys: set[RunKey], tenant: str | None) -> list[InboxRow]:
    """What waits for runs that are not there, if one of it starts the run."""
    rows = [row for row in await store.requests() if row.key not in keys and tenant in (None, row.key.tenant)]
    starting = {row.key for row in rows if row.kind == START}
    return [row for row in rows if row.key in starting and await store.run(row.key) is None]


async def _schedules(store: Store, tenant: str | None) -> list[ScheduleRow]:
    return await store.schedules(tenant_id(tenant) if tenant is not None else None)


def _packed_schedule(row: ScheduleRow) -> bytes:
    """As it stands, without its journal: that is of the store that it fired in."""
    times = [row.created_at, row.updated_at, row.next_at, row.due_at]
    return encode_plain([row.tenant, row.id, row.spec, times, row.is_paused, list(row.queued), row.last_run])


async def _put_schedule(store: Store, item: Sequence[Any]) -> None:
    """It goes on here from where it stood there. One that is there already is left alone."""
    tenant, id, spec, times, is_paused, queued, last_run = item
    key = new_run_key(id, tenant)
    if await store.schedule(key.tenant, key.run) is not None:
        return
    packed = ScheduleSpec.unpack(spec).checked().pack()
    if not all(time is None or (isinstance(time, int) and 0 <= time <= HELD_BACK) for time in (*times, *queued)):
        raise InvalidInput(f"schedule '{shown(key.run)}' has times that are none", path="schedules", problems=[])
    last = stored_run_key(last_run, tenant).run if last_run is not None else None
    created, updated, following, due = times
    row = ScheduleRow(
        key.tenant, key.run, packed, 1, created, updated, following, due, bool(is_paused), tuple(queued), last
    )
    await store.move_schedule(row, at=row.updated_at)


def is_of_many(data: BinaryIO) -> bool:
    """Whether a file looks like one that `export_all` wrote."""
    return is_zipfile(data)


async def import_all(
    store: Store,
    data: BinaryIO,
    policies: InForce | None = None,
    is_ours: Callable[[str], bool] = lambda _: False,
    by: str = "",
) -> AsyncIterator[Moved]:
    """Put the runs of a file into `store`; gives each when it is there. One that is refused is left out, others are not.

    What is there already, and equal, is left alone: whoever was interrupted does it again. The arguments are those of
    `import_run`.

    Raises:
        ForeignFile: it is no such file, or is damaged.
        StoreError: the store did not take a run; those before are there.
    """
    try:
        with ZipFile(data) as archive:
            names = sorted(
                (name for name in archive.namelist() if name.startswith("runs/")), key=lambda name: int(name[5:])
            )
            if any(one.compress_type != ZIP_STORED for one in archive.infolist()):
                raise ForeignFile("this file was packed again by another program: import the one that cloche wrote")
            for number, name in enumerate(names, 1):
                head, rest = decode_sequence(archive.read(name))
                [header] = decode_sequence(head)
                key = stored_run_key(header["run"], header["tenant"])
                try:
                    blobs = [archive.read(f"blobs/{header[which]}") for which in ("code", "guest")]
                    await import_run(store, b"".join([head, *blobs, rest]), policies, is_ours, by)
                except StoreError:
                    raise
                except ClocheError as error:
                    yield Moved(key, number, len(names), error)
                else:
                    yield Moved(key, number, len(names))
            await _post_starts(store, decode_sequence(archive.read(_STARTS)))
            if _SCHEDULES in archive.namelist():  # files of older releases have none
                for item in decode_sequence(archive.read(_SCHEDULES)):
                    await _put_schedule(store, item)
    except ClocheError:
        raise
    except Exception as error:  # what zipfile raises for damage is not told anywhere
        raise ForeignFile(f"this file of many runs cannot be read: {error}") from error


async def _post_starts(store: Store, items: Sequence[Sequence[object]]) -> None:
    """Leave the requests for runs that are not there yet, if they are not there here either."""
    by_key: dict[RunKey, list[Sequence[object]]] = {}
    for *request, tenant, run in items:
        by_key.setdefault(stored_run_key(str(run), str(tenant)), []).append(request)
    for key, requests in by_key.items():
        postings = exported_requests.unpacked(requests, key, None)
        if await store.run(key) is None:
            await exported_requests.post(store, key, None, postings)
