"""What is kept because it is dear to make: so many bytes of it, and of each tenant a share of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

SHARE: Final = 4  # a tenant's part of what is kept is at most one in so many


class TenantCache(Generic[K, V]):
    """Values by key, those used last first. A tenant's new value displaces its own first, and then whatever is oldest.

    What belongs to nobody (owner "") has no share. A value that is larger than may be kept is not kept. For any thread.
    """

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.sizes: dict[str, int] = {}  # bytes by owner
        self._values: OrderedDict[K, tuple[V, int, str]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def put(self, key: K, value: V, size: int, owner: str) -> None:
        """Keep `value`, which takes `size` bytes, for `owner`."""
        with self._lock:
            self._drop(key)
            most = self.bytes_max // SHARE if owner else self.bytes_max
            if size > most:
                return
            self._values[key] = value, size, owner
            self.sizes[owner] = self.sizes.get(owner, 0) + size
            if owner:
                self._shrink(self.sizes[owner] - most, owner)
            self._shrink(sum(self.sizes.values()) - self.bytes_max, None)

    def __contains__(self, key: K) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)

    def clear(self) -> None:
        with self._lock:
            self._values.clear()
            self.sizes.clear()

    def _shrink(self, surplus: int, owner: str | None) -> None:
        """Drop the oldest, of one owner or of all, until so many bytes are gone."""
        oldest: list[K] = []
        for key, (_, size, of) in self._values.items():
            if surplus <= 0:
                break
            if owner is None or of == owner:
                oldest.append(key)
                surplus -= size
        for key in oldest:
            self._drop(key)

    def _drop(self, key: K) -> None:
        gone = self._values.pop(key, None)
        if gone is not None:
            left = self.sizes[gone[2]] - gone[1]
            if left:
                self.sizes[gone[2]] = left
            else:
                del self.sizes[gone[2]]
