"""Run all benchmarks, or those named; print a table, and write JSON to `benchmarks/results/`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import cells, durable, python_cells, startup
from benchmarks.measure import Figure

SUITE: dict[str, Callable[[], Iterator[Figure]]] = {
    "new-cell": cells.new_cell,
    "load": cells.load,
    "live-turn": cells.live_turn,
    "replay": cells.replay,
    "python-guest": python_cells.python_guest,
    "replay-from-store": durable.replay_from_store,
    "sequential-steps": durable.sequential_steps,
    "concurrent-runs": durable.concurrent_runs,
    "grouped-append": durable.grouped_append,
    "isolation-tax": durable.isolation_tax,
    "log-bytes": durable.log_bytes,
    "cold-start": startup.cold_start,
    "help": startup.help_text,
}
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(SUITE)}")
    parser.add_argument("--json", action="store_true", help="print JSON lines instead of a table")
    options = parser.parse_args()
    if unknown := set(options.names) - set(SUITE):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    figures = []
    for name in options.names or SUITE:
        print(f"… {name}", file=sys.stderr)
        for figure in SUITE[name]():
            figures.append(figure)
            print(json.dumps(_data(figure)) if options.json else _line(figure), flush=True)
    if not options.names:
        _keep(figures)


def _line(figure: Figure) -> str:
    mark = {None: " ", True: "✓", False: "✗"}[figure.within]
    limit = f"≤ {figure.limit:,.4g}" if figure.limit is not None else ""
    against = f"{figure.ratio:8.2f} x {figure.baseline} ({figure.baseline_value:,.4g})"
    return f"{mark} {figure.name:42} {figure.value:>10,.4g} {figure.unit:8} {limit:9} {against}  {figure.note}".rstrip()


def _data(figure: Figure) -> dict[str, object]:
    return {**asdict(figure), "ratio": figure.ratio, "within": figure.within}


def _keep(figures: list[Figure]) -> None:
    RESULTS.mkdir(exist_ok=True)
    machine = {"system": platform.platform(), "python": platform.python_version(), "cores": os.cpu_count()}
    now = datetime.now(UTC)
    data = {
        "date": now.isoformat(timespec="seconds"),
        "command": "make bench",
        "machine": machine,
        "figures": [_data(figure) for figure in figures],
    }
    file = RESULTS / f"{now:%Y-%m-%d}.json"
    file.write_text(json.dumps(data, indent=1) + "\n")
    print(f"kept in {file}", file=sys.stderr)


if __name__ == "__main__":
    main()
