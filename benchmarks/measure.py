"""Timing on a noisy machine: medians of repeats, each next to a baseline taken in the same minute."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `limit` is what the project asks of itself, in the unit of the value or as a ratio."""

    name: str
    value: float
    unit: str
    baseline: str
    baseline_value: float
    limit: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float:
        return self.value / self.baseline_value if self.baseline_value else float("inf")

    @property
    def within(self) -> bool | None:
        return None if self.limit is None else self.value <= self.limit


def median_us(work: Callable[[], object], repeats: int) -> float:
    """The median time of one call in microseconds."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter_ns()
        work()
        times.append(time.perf_counter_ns() - begin)
    return statistics.median(times) / 1000


def once_us(work: Callable[[], object]) -> float:
    """One call in microseconds."""
    return median_us(work, 1)


def resident_bytes() -> int:
    """Private resident memory of this process, by the kernel's account (smaps_rollup)."""
    with open("/proc/self/smaps_rollup") as rollup:
        return sum(
            int(line.split()[1]) * 1024 for line in rollup if line.startswith(("Private_Dirty", "Private_Clean"))
        )
