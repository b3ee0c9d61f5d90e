"""What becomes of figures: a line of a table, JSON, and files to keep (results, table, plots)."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure
from benchmarks.plots import Curve, plot

_MARKS = {None: " ", True: "✓", False: "✗"}
_NAME, _BASELINE = 52, 36


@dataclass(frozen=True, slots=True)
class Taken:
    """A figure and the benchmark it is of."""

    benchmark: str
    figure: Figure

    def to_data(self) -> dict[str, Any]:
        return {"benchmark": self.benchmark, **self.figure.to_data()}


def line(figure: Figure) -> str:
    """A figure on one line: whether its goal is met, the value, the goal, the baseline and the ratio to it."""
    sign = "≥" if figure.at_least else "≤"
    goal = f"{sign} {number(figure.goal)}" if figure.goal is not None else ""
    base = f"{figure.baseline} ({number(figure.baseline_value)})"
    cells = f"{_MARKS[figure.within]} {figure.name:{_NAME}} {number(figure.value):>8} {figure.unit:8} {goal:9}"
    return f"{cells} {number(figure.ratio):>8} x {base:{_BASELINE}} {figure.note}".rstrip()


def number(value: float) -> str:
    """Three digits, or all of those before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def results(taken: Sequence[Taken], command: str) -> dict[str, Any]:
    """Everything that is needed to read the figures later: machine, versions, date, command."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "machine": machine(),
        "versions": {name: version(name) for name in ("cloche", "wasmtime", "cbor2")},
        "figures": [one.to_data() for one in taken],
    }


def machine() -> dict[str, Any]:
    """What it ran on, without its name."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((text.split(":", 1)[1].strip() for text in lines if text.startswith("model name")), "")


def keep(taken: Sequence[Taken], command: str, directory: Path) -> list[Path]:
    """Write `<date>.json`, `<date>.txt` (the table) and a plot for each benchmark of several sizes; the files."""
    directory.mkdir(parents=True, exist_ok=True)
    data = results(taken, command)
    day = str(data["date"])[:10]
    said = f"{data['machine']['processor']}, {data['machine']['cores']} cores · {day} · {command}"
    texts = {f"{day}.json": json.dumps(data, indent=1, ensure_ascii=False) + "\n"}
    texts[f"{day}.txt"] = f"{said}\n\n" + "".join(f"{line(one.figure)}\n" for one in taken)
    for benchmark in dict.fromkeys(one.benchmark for one in taken):
        figures = [one.figure for one in taken if one.benchmark == benchmark and one.figure.size is not None]
        if len({figure.size for figure in figures}) > 1:
            texts[f"{benchmark}.svg"] = plot(benchmark, figures[0].unit, _curves(figures), said)
    for name, text in texts.items():
        (directory / name).write_text(text)
    return [directory / name for name in texts]


def _curves(figures: Sequence[Figure]) -> list[Curve]:
    """One for each series, and one for the baseline where it was measured beside every point."""
    curves = []
    for series in dict.fromkeys(figure.series for figure in figures):
        own = [figure for figure in figures if figure.series == series]
        curves.append(Curve(series, [(figure.size or 0, figure.value) for figure in own]))
    first = [figure for figure in figures if figure.series == figures[0].series]
    if all(figure.baseline_value > 0 for figure in first):
        curves.append(Curve(first[0].baseline, [(f.size or 0, f.baseline_value) for f in first], is_baseline=True))
    return curves
