"""The log in one SQLite file."""

from cloche.store.sqlite.audit import blob_digest
from cloche.store.sqlite.database import SQLITE_REQUIRED, SQLITE_VERSION
from cloche.store.sqlite.store import SqliteStore

__all__ = ["SQLITE_REQUIRED", "SQLITE_VERSION", "SqliteStore", "blob_digest"]
