"""The log: one small protocol, in memory and in SQLite. The only code that knows SQL."""

from cloche.store.checkpoints import CheckpointFile, Checkpoints, MemoryCheckpoints
from cloche.store.memory import MemoryStore
from cloche.store.protocol import (
    GRANTED,
    START,
    Append,
    Collected,
    Finding,
    InboxRow,
    Lease,
    Leases,
    NewCode,
    NewRun,
    RunRow,
    Store,
    Version,
    WorkerRow,
)
from cloche.store.sqlite import SQLITE_REQUIRED, SQLITE_VERSION, SqliteStore, blob_digest
from cloche.store.usage import Metered, TenantUsage, Usage

__all__ = [
    "GRANTED",
    "SQLITE_REQUIRED",
    "SQLITE_VERSION",
    "START",
    "Append",
    "CheckpointFile",
    "Checkpoints",
    "Collected",
    "Finding",
    "InboxRow",
    "Lease",
    "Leases",
    "MemoryCheckpoints",
    "MemoryStore",
    "Metered",
    "NewCode",
    "NewRun",
    "RunRow",
    "SqliteStore",
    "Store",
    "TenantUsage",
    "Usage",
    "Version",
    "WorkerRow",
    "blob_digest",
]
