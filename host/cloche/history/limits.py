"""What a cell may use. The values are pinned in a run's first record: a replay years later has the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cloche.errors import UsageError

_MOST = {
    "fuel_per_event": 1 << 62,
    "fuel_per_load": 1 << 62,
    "wall_ms_per_event": 1 << 40,
    "memory_bytes": 1 << 32,
    "image_bytes": 1 << 32,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Budgets are per delivered event; a batch gets the sum, so that an honest replay in one turn is never stopped.

    fuel_per_event: wasmtime's units, one for a wasm instruction; 2e9 are about 0.15 s of computing in the JavaScript guest.
    fuel_per_load: the same for evaluating the workflow's code, once for each version: a large bundle is parsed, and its modules
        run. 2e10 are about 1.5 s.
    wall_ms_per_event: the second line, for what burns time and no fuel; well above what the fuel takes, so that the
        deterministic limit is the one that is met.
    memory_bytes: linear memory, with the 17 MiB of stack and windows.
    image_bytes: what evaluating a workflow's code may change of it.
    """

    fuel_per_event: int = 2_000_000_000
    fuel_per_load: int = 20_000_000_000
    wall_ms_per_event: int = 10_000
    memory_bytes: int = 128 << 20
    image_bytes: int = 32 << 20

    def __post_init__(self) -> None:
        for name, most in _MOST.items():
            value = getattr(self, name)
            if type(value) is not int or not 0 < value <= most:
                raise UsageError(f"{name} must be a whole number from 1 to {most}, not {value!r}")

    def to_data(self) -> dict[str, int]:
        """As a run's first record has them."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Limits:
        """Limits of a stored run; a field that a later version added has its default."""
        return cls(**{name: int(data[name]) for name in cls.__dataclass_fields__ if name in data})
