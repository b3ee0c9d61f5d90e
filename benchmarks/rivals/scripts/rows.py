"""What every script here prints: one JSON object a line. Standard library only: it runs in foreign environments."""

from __future__ import annotations

import json
import statistics
import sys


def sizes(*wanted: int) -> list[int]:
    """Those within the script's argument."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    return [size for size in wanted if size <= most]


def row(what: str, how: str, size: int, runs_s: list[float]) -> None:
    """`what` is `replay`, `parallel replay` or `durable step`; `runs_s` the seconds of each whole run of `size` steps."""
    each = statistics.median(runs_s) / size * 1e6
    data = {
        "what": what,
        "how": how,
        "size": size,
        "us_per_step": round(each, 3),
        "runs_s": [round(s, 6) for s in runs_s],
    }
    print(json.dumps(data), flush=True)
