"""Renew `counts.json`, which `tests/bench/test_counts.py` compares with: `make counts`. Needs both guests."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import histories
from benchmarks.counts import calls, fuel


def main() -> None:
    if not histories.has_python():
        raise SystemExit("the Python guest is not built, and its counts would be lost: make guest-python")
    kept = {name: round(count, 2) for name, (count, _) in {**fuel(), **calls()}.items()}
    Path(__file__).with_name("counts.json").write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
