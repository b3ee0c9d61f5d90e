"""What runs have used, deleting them, and checking what is stored, in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path as FilePath

from cloche.errors import BrokenChain, UsageError
from cloche.history.ids import RunKey, Seq, TenantId, TimeMs
from cloche.history.records import genesis, unpack_record
from cloche.status import FINAL, RunStatus
from cloche.store.memory.data import Facet
from cloche.store.protocol import Collected, Finding
from cloche.store.usage import NOTHING, Metered, Stored, TenantUsage


class MemoryMetering(Facet):
    """Implements `Metering`."""

    async def usage(self, tenant: TenantId | None = None) -> list[TenantUsage]:
        sums: dict[TenantId, TenantUsage] = {}
        for key, metered in self._data.metered.items():
            if tenant in (None, key.tenant):
                before = sums.get(key.tenant, TenantUsage(key.tenant, 0, NOTHING))
                sums[key.tenant] = TenantUsage(key.tenant, before.runs + 1, before.usage + metered.usage)
        return [one for _, one in sorted(sums.items())]

    async def stored(self, tenant: TenantId) -> Stored:
        data = self._data
        rows = [row for key, row in data.rows.items() if key.tenant == tenant]
        codes = {row.code for row in rows} | {code for of, code in data.bundles if of == tenant}
        return Stored(
            len(rows),
            sum(row.status not in FINAL for row in rows),
            sum(row.status == RunStatus.BLOCKED for row in rows),
            sum(data.metered[row.key].usage.log_bytes for row in rows),
            sum(len(data.blobs.get(code, b"")) for code in codes),
        )

    async def metered(self, key: RunKey) -> Metered | None:
        return self._data.metered[key] if key in self._data.rows else None


class MemoryMaintenance(Facet):
    """Implements `Maintenance`."""

    async def delete(self, keys: Sequence[RunKey], at: TimeMs) -> list[RunKey]:
        data = self._data
        found = [key for key in keys if (row := data.rows.get(key)) and row.status in FINAL and row.owner is None]
        gone = set(found)
        for key in found:
            del data.rows[key]
            del data.records[key]
            del data.numbers[key]
            data.marks.pop(key, None)
            data.tombstones[key] = at
        data.results = {place: record for place, record in data.results.items() if place[0] not in gone}
        data.inbox.delete(gone)
        return found

    async def collect(self, needs: Callable[[bytes], Sequence[str]]) -> Collected:
        blobs = self._data.blobs
        used = {row.code for row in self._data.rows.values()} | {one.digest for one in self._data.versions.values()}
        used.update(digest for code in list(used) if code in blobs for digest in needs(blobs[code]))
        unused = [digest for digest in blobs if digest not in used]
        for digest in unused:
            del blobs[digest]
        self._data.bundles = {bundle for bundle in self._data.bundles if bundle[1] in blobs}
        return Collected(0, len(unused))  # parts are those of its records, and go with them

    async def shrink(self, pages: int) -> int:
        return 0

    async def back_up(self, target: FilePath) -> int:
        raise UsageError("a store in memory is not backed up to a file: export its runs")

    async def audit(self, key: RunKey | None = None) -> list[Finding]:
        findings = []
        for run, records in self._data.records.items():
            if key not in (None, run):
                continue
            previous = genesis(run)
            for number, record in enumerate(records, 1):
                try:
                    parts = record.payload.parts if record.payload else {}
                    unpack_record(record.packed, record.hash, previous=previous, expected=Seq(number), find=parts.get)
                except BrokenChain as error:
                    findings.append(Finding(run.run, number, error.message))
                previous = record.hash
        return findings
