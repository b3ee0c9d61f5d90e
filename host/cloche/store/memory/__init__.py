"""The log in memory: for tests, scripts and runs that need not outlive their process."""

from cloche.store.memory.leases import MemoryLeases
from cloche.store.memory.store import MemoryStore

__all__ = ["MemoryLeases", "MemoryStore"]
