"""Measure the rivals that are installed, or those named, and cloche beside them: a table, and JSON in benchmarks/results/.

`--install` fetches them first, at the versions in `catalogue.py`, into .cache/rivals/: nothing is installed anywhere else.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.report import machine, number
from benchmarks.rivals.catalogue import RIVALS, Rival
from benchmarks.rivals.running import absent, baselines, install, measure

RESULTS = Path(__file__).parents[1] / "results"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rivals", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(RIVALS)}")
    parser.add_argument("--install", action="store_true", help="fetch what is missing, from PyPI and npm")
    parser.add_argument("--most", type=int, default=1_000, help="the most steps of a run (default 1000)")
    parser.add_argument("--keep", action="store_true", help="write the results file")
    options = parser.parse_args()
    if unknown := set(options.names) - set(RIVALS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    found = []
    for name in options.names or RIVALS:
        if options.install:
            install(RIVALS[name])
        found.append(_measured(RIVALS[name], options.most))
    if options.keep:
        now = datetime.now(UTC)
        command = "python -m benchmarks.rivals " + " ".join([*options.names, f"--most {options.most}"])
        data = {"date": now.isoformat(timespec="seconds"), "command": command, "machine": machine(), "rivals": found}
        file = RESULTS / f"rivals-{now:%Y-%m-%d}.json"
        file.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
        print(f"kept {file}", file=sys.stderr)
    return 0


def _measured(rival: Rival, most: int) -> dict[str, Any]:
    """Its rows, between two measurements of what the machine can do; or why it was skipped."""
    about: dict[str, Any] = {"name": rival.name, "versions": rival.versions, "durability": rival.durability}
    if why := absent(rival):
        print(f"- {rival.name}: skipped: {why}", flush=True)
        return {**about, "skipped": why}
    before = baselines()
    rows, trouble = [], None
    for row in measure(rival, most):
        if "failed" in row:
            trouble = row["failed"]
            print(f"- {rival.name}: {trouble}", flush=True)
            continue
        row["baseline_us"] = before["append + fdatasync" if row["what"] == "durable step" else "bare await"]
        rows.append(row)
        print(_line(rival.name, row), flush=True)
    return {**about, "baselines_us": {"before": before, "after": baselines()}, "rows": rows, "trouble": trouble}


def _line(name: str, row: dict[str, Any]) -> str:
    ratio = row["us_per_step"] / row["baseline_us"]
    kind = "append + fdatasync" if row["what"] == "durable step" else "bare await"
    shown = f"{number(row['us_per_step']):>9} µs/step {number(ratio):>8} x {kind} ({number(row['baseline_us'])})"
    return f"  {name:10} {row['what']:14} {row['how']:34} {row['size']:>6} {shown}"


if __name__ == "__main__":
    sys.exit(main())
