"""The log: one small protocol, in memory and in SQLite. The only code that knows SQL."""

from cloche.store.checkpoints import CheckpointFile, Checkpoints, MemoryCheckpoints
from cloche.store.lock import ExecutionLock
from cloche.store.memory import MemoryStore
from cloche.store.protocol import Append, Finding, InboxRow, NewRun, RunRow, Store
from cloche.store.sqlite import SQLITE_REQUIRED, SQLITE_VERSION, SqliteStore
from cloche.store.sqlite_audit import blob_digest

__all__ = [
    "SQLITE_REQUIRED",
    "SQLITE_VERSION",
    "Append",
    "CheckpointFile",
    "Checkpoints",
    "ExecutionLock",
    "Finding",
    "InboxRow",
    "MemoryCheckpoints",
    "MemoryStore",
    "NewRun",
    "RunRow",
    "SqliteStore",
    "Store",
    "blob_digest",
]
