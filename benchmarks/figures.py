"""A figure, and how it is taken on a noisy machine: medians of repeats, each next to a baseline of the same minute."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Scale:
    """How far the sizes go: nothing has more than `most` steps, runs or items. Bytes are not bounded by it."""

    most: int = 1_000_000

    def sizes(self, *sizes: int) -> tuple[int, ...]:
        """Those of `sizes` that are within, the smallest in any case."""
        return tuple(size for size in sizes if size <= self.most) or (min(sizes),)


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    `goal` is what the project asks of itself, in the unit of the value: at most, or at least where `at_least`.
    With `series` and `size` it is a point of the benchmark's plot.
    """

    name: str
    value: float
    unit: str
    baseline: str
    baseline_value: float
    goal: float | None = None
    note: str = ""
    series: str = ""
    size: int | None = None
    at_least: bool = False

    @property
    def ratio(self) -> float:
        """The value in baselines."""
        return self.value / self.baseline_value if self.baseline_value else float("inf")

    @property
    def within(self) -> bool | None:
        """Whether the goal is met; None without one."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.at_least else self.value <= self.goal

    def to_data(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio, "within": self.within}


def median_us(work: Callable[[], object], repeats: int) -> float:
    """The median time of one call in microseconds."""
    return statistics.median(once_us(work) for _ in range(repeats))


def once_us(work: Callable[[], object]) -> float:
    """One call in microseconds."""
    begin = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - begin) / 1000


def wall_and_cpu_us(work: Callable[[], object]) -> tuple[float, float]:
    """One call in microseconds: by the clock, and computed by this process, which others on the machine do not make more."""
    cpu = time.process_time_ns()
    wall = once_us(work)
    return wall, (time.process_time_ns() - cpu) / 1000


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that `percent` of them do not pass (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def private_bytes() -> int:
    """Private resident memory of this process, by the kernel's account (smaps_rollup).

    Raises:
        OSError: not on Linux.
    """
    with open("/proc/self/smaps_rollup") as rollup:
        return sum(
            int(line.split()[1]) * 1024 for line in rollup if line.startswith(("Private_Dirty", "Private_Clean"))
        )
