"""The list of benchmarks. Each is loaded when it is run, so that naming them costs nothing."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence

from benchmarks.engine_servers import NotInstalled
from benchmarks.figures import Figure, Scale

SUITE = {
    "new-cell": ("cells", "a live instance of a workflow's image, ready for its first turn"),
    "load": ("cells", "a workflow's code to an image"),
    "live-turn": ("cells", "one event in, one command out"),
    "replay": ("cells", "whole histories in one crossing: sequential, parallel, mixed"),
    "python-guest": ("python_guest", "size and cells of the Python guest (nothing where it is not built)"),
    "functions": ("functions", "Python functions: taken under glass at commit, and asked there"),
    "typed-values": (
        "typed_values",
        "what the type of an annotation costs where a value arrives; a call of two arguments",
    ),
    "typescript": ("typescript", "compiling, replay of what comes out, cells of a large bundle, a step on Node"),
    "batches": ("batches", "what a `Batch` of 10,000 costs beside the list of a plain gather"),
    "two-cores": ("cells", "guest-bound work on two threads against one"),
    "metering": ("metering", "what fuel and epochs cost the guest"),
    "validation": ("boundary", "every byte of a command looked at before anything is built from it"),
    "spin-stop": ("boundary", "how late a guest that never ends is stopped while another thread is busy"),
    "neighbours": ("neighbours", "a step of one tenant while 50 others compute without end, or one means harm"),
    "resume": ("resume", "from a checkpoint, at any length of history"),
    "replay-from-store": ("resume", "from the file to the end of the run, chain verified"),
    "log-bytes": ("resume", "how the file grows with a step"),
    "sequential-steps": ("durable", "one run, one step after another, each synced"),
    "concurrent-runs": ("durable", "many runs at once, which share commits"),
    "start-latency": ("durable", "until a run's beginning is durable, and until its end"),
    "evaluate": ("evaluating", "code that a model wrote: deployed, run and answered in one call"),
    "payloads": ("durable", "steps that take and give 100 B to 4 MB"),
    "postgres": ("postgres", "the store in PostgreSQL: steps, many runs, claims, a server far away"),
    "conversation": ("conversation", "a run that passes on a growing conversation of 1 MB"),
    "foreach": ("durable", "a foreach over many items"),
    "isolation-tax": ("tax", "the same workflow in process and under glass"),
    "process-turn": ("processes", "one event in, one command out, of a cell in a process of its own"),
    "live-memory": ("memory", "what live cells take"),
    "parked-memory": ("memory", "what runs take that wait for somebody"),
    "cold-start": ("startup", "the first run of a process, with and without compiled guest"),
    "inngest": ("foreign", "a request of Inngest that leads a run through its memos, beside a plain function"),
    "restate": ("foreign", "on Restate's own server, beside a plain handler (make engines)"),
    "temporal": ("foreign", "on Temporal's own server, beside a plain workflow (make engines)"),
    "counts": ("counts", "fuel and calls of the key paths: the same on every machine"),
    "http-get-run": ("serving", "a run that is read over HTTP, beside FastAPI's own hello-world"),
    "http-start": ("serving", "a durable start over HTTP, beside one in the process"),
    "http-streams": ("serving", "what a stream of server-sent events takes, while 10,000 are open"),
    "http-first-answer": ("serving", "`cloche serve` from nothing to its first answer"),
    "remote": ("remote", "a remote step beside one of the process, and what idle remote workers ask of PostgreSQL"),
    "dashboard": (
        "dashboard",
        "the page of a long run in Chromium: first paint, redraw, memory, frames while it moves",
    ),
    "help": ("startup", "`cloche --help`"),
}


def run_suite(names: Sequence[str], scale: Scale) -> Iterator[tuple[str, Figure]]:
    """The figures of these benchmarks, of all if none is named, as they are measured: (name of the benchmark, figure)."""
    for name in names or SUITE:
        module = importlib.import_module(f"benchmarks.{SUITE[name][0]}")
        try:
            for figure in getattr(module, name.replace("-", "_"))(scale):
                yield name, figure
        except NotInstalled as missing:
            print(f"{name}: {missing}", file=sys.stderr)
