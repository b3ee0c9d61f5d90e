"""One line of `cloche doctor`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Check:
    """`ok` None means that there was nothing to check, or that it is no fault. `facts`: the same for programs."""

    name: str
    ok: bool | None
    says: str
    facts: Mapping[str, Any] = field(default_factory=dict)
