"""The store on many machines: PostgreSQL, by asyncpg. Installed by `cloche[postgres]`."""

from cloche.store.postgres.address import Address
from cloche.store.postgres.migrations import migrate, printed
from cloche.store.postgres.store import PostgresStore

__all__ = ["Address", "PostgresStore", "migrate", "printed"]
