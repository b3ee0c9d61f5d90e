"""Cost against size as SVG: both axes logarithmic, one line a series, the baseline dashed.

Written by hand: a plotting library would be fifty times the size of what is needed. The same points give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 210, 40, 60
COLORS = ("#0b6e4f", "#c8553d", "#3d5a98", "#8f6bb3", "#b58a1f", "#4a4a4a")  # told apart with color blindness too
_MARGIN = 1.3  # room above and below the points, as a factor


@dataclass(frozen=True, slots=True)
class Curve:
    """Points (size, cost), both above zero; others cannot be shown on these axes and are left out."""

    name: str
    points: Sequence[tuple[float, float]]
    is_baseline: bool = False

    @property
    def shown(self) -> list[tuple[float, float]]:
        return sorted((x, y) for x, y in self.points if x > 0 and y > 0)


@dataclass(frozen=True, slots=True)
class _Axis:
    """A logarithmic scale from values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        return self.start + math.log(value / self.low) / math.log(self.high / self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Powers of ten; between them 2 and 5 too, where there would be fewer than three."""
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        tens = [10.0**power for power in range(first, last + 1)]
        within = [tick for tick in tens if self.low <= tick <= self.high]
        if len(within) >= 3:
            return within
        return [part * tick for tick in tens for part in (1, 2, 5) if self.low <= part * tick <= self.high]


def plot(title: str, unit: str, curves: Sequence[Curve], said: str) -> str:
    """An SVG of these curves; `said` (machine, date, command) stands below it. Empty axes if there is no point."""
    points = [point for curve in curves for point in curve.shown] or [(1.0, 1.0)]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    x_axis = _Axis(min(xs), max(max(xs), min(xs) * 2), LEFT, WIDTH - RIGHT)
    y_axis = _Axis(min(ys) / _MARGIN, max(ys) * _MARGIN, HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 22, f"{title}: {unit} against size", size=15),
        *_grid(x_axis, y_axis),
        *(part for number, curve in enumerate(curves) for part in _drawn(curve, number, x_axis, y_axis)),
        _text(LEFT, HEIGHT - 10, said, size=10, color="#666"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _grid(x_axis: _Axis, y_axis: _Axis) -> list[str]:
    parts = []
    for tick in x_axis.ticks():
        x = x_axis.at(tick)
        parts.append(_line(x, TOP, x, HEIGHT - BOTTOM))
        parts.append(_text(x, HEIGHT - BOTTOM + 18, f"{tick:,.0f}", anchor="middle"))
    for tick in y_axis.ticks():
        y = y_axis.at(tick)
        parts.append(_line(LEFT, y, WIDTH - RIGHT, y))
        parts.append(_text(LEFT - 8, y + 4, f"{tick:,g}", anchor="end"))
    return parts


def _drawn(curve: Curve, number: int, x_axis: _Axis, y_axis: _Axis) -> list[str]:
    color = "#888" if curve.is_baseline else COLORS[number % len(COLORS)]
    dash = ' stroke-dasharray="5 4"' if curve.is_baseline else ""
    places = [(x_axis.at(x), y_axis.at(y)) for x, y in curve.shown]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"{dash}/>']
    parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in places]
    y = TOP + 14 + 20 * number
    parts.append(
        f'<line x1="{WIDTH - RIGHT + 12}" y1="{y}" x2="{WIDTH - RIGHT + 32}" y2="{y}" stroke="{color}"{dash}/>'
    )
    parts.append(_text(WIDTH - RIGHT + 38, y + 4, curve.name, size=11))
    return parts


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#ddd"/>'


def _text(x: float, y: float, text: str, *, size: int = 12, anchor: str = "start", color: str = "#222") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{color}"'
    return f"<text {place}>{escape(text)}</text>"
