"""Metrics of runs and steps, for Prometheus.

No label has the id of a run. Workflows and steps that tenants bring, and tenants where they are asked for, are as many as
anybody likes: beyond a cap they are counted together, as `other`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cloche.errors import Divergence, UsageError
from cloche.history import Kind
from cloche.history.reading import message_of
from cloche.history.records import ENDS
from cloche.telemetry.watching import Watching

try:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, start_http_server
except ModuleNotFoundError as missing:
    raise UsageError("metrics need an optional part: pip install 'cloche[server]'") from missing

if TYPE_CHECKING:
    from cloche.errors import ClocheError
    from cloche.history import Record
    from cloche.history.effects import StartStep
    from cloche.run.observing import ActiveRun, Ended, WatchedRun
    from cloche.store import Append
    from cloche_codegen import Step

WORKFLOWS_MAX, STEPS_MAX = 500, 2000
OTHER = "other"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Seconds. Steps take from a millisecond to hours, runs to days; what a store or a guest does, from microseconds to seconds.
_LONG = (0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 1800, 7200, 86_400)
_SHORT = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2, 10)


class Metrics(Watching):
    """An observer that counts. `exposition` is what `/metrics` answers.

    Args:
        tenants_max: how many tenants have a label of their own in the counts of runs and steps; 0: tenants have no label.
        store: what the label `store` of the time of appends is: `sqlite`, `postgresql`.
    """

    def __init__(self, *, tenants_max: int = 0, store: str = "") -> None:
        self.registry = CollectorRegistry()
        self._store = store
        self._tenants_max = tenants_max
        self._seen: dict[str, set[tuple[str, ...]]] = {"workflow": set(), "step": set(), "tenant": set()}
        of = ["tenant"] if tenants_max else []
        within: Any = {"registry": self.registry}
        self.started = Counter("cloche_runs_started", "Runs that have begun.", ["workflow", *of], **within)
        self.completed = Counter(
            "cloche_runs_completed", "Runs that have ended.", ["workflow", "status", *of], **within
        )
        self.run_s = Histogram(
            "cloche_run_duration_seconds", "From begin to end.", ["workflow", "status"], buckets=_LONG, **within
        )
        step = ["workflow", "step", "outcome"]
        self.attempts = Counter("cloche_step_attempts", "Attempts of steps that have ended.", [*step, *of], **within)
        self.step_s = Histogram("cloche_step_duration_seconds", "Of one attempt.", step, buckets=_LONG, **within)
        self.host = _Host(self.registry)

    # ---- as an observer ----

    def committed(self, run: ActiveRun, records: Sequence[Record]) -> None:
        for record in records:
            if record.kind is Kind.RUN_STARTED:
                self.started.labels(self._workflow(run), *self._tenant(run)).inc()
            elif record.kind in ENDS:
                self._ended(run, record)

    def attempt_begins(self, run: WatchedRun, step: Step, start: StartStep) -> Ended:
        began, workflow = time.perf_counter(), self._workflow(run)
        of_step = self._capped("step", STEPS_MAX, workflow, str(step.id))
        tenant = self._tenant(run)

        def ended(outcome: str, error: BaseException | None) -> None:
            self.attempts.labels(workflow, of_step, outcome, *tenant).inc()
            self.step_s.labels(workflow, of_step, outcome).observe(time.perf_counter() - began)

        return ended

    def replayed(self, run: WatchedRun, events: int, seconds: float) -> None:
        self.host.replay_s.observe(seconds)
        self.host.replayed.inc(events)

    def blocked(self, run: ActiveRun, error: ClocheError) -> None:
        if isinstance(error, Divergence):
            self.host.mismatches.inc()

    def claimed(self, lag_s: float) -> None:
        self.host.claim_lag_s.observe(lag_s)

    def appended(self, append: Append, seconds: float) -> None:
        self.host.append_s.labels(self._store).observe(seconds)
        if append.metered is not None:
            self.host.fuel.inc(append.metered.usage.fuel + append.metered.usage.overhead_fuel)

    # ---- what is asked for ----

    def exposition(self, runs: Mapping[str, int], guest_memory_bytes: int) -> bytes:
        """All of it, as Prometheus reads it (`CONTENT_TYPE`). `runs` is how many stand where; ended ones are not counted."""
        self.host.runs.clear()
        for status, count in runs.items():
            self.host.runs.labels(status).set(count)
        self.host.memory.set(guest_memory_bytes)
        return generate_latest(self.registry)

    def serve(self, host: str, port: int) -> None:
        """Answer Prometheus there, from a thread, until the process ends: of a worker without a server. It counts no runs.

        Raises:
            OSError: the address cannot be had.
        """
        start_http_server(port, host, self.registry)

    # ---- inside ----

    def _ended(self, run: ActiveRun, record: Record) -> None:
        status, workflow = str(run.machine.status), self._workflow(run)
        self.completed.labels(workflow, status, *self._tenant(run)).inc()
        if run.started is not None:
            self.run_s.labels(workflow, status).observe(max(record.time - run.started.time, 0) / 1000)
        if record.kind is Kind.RUN_STOPPED and (fault := getattr(message_of(record), "fault", None)) is not None:
            self.host.limits.labels(fault).inc()

    def _workflow(self, run: WatchedRun) -> str:
        return self._capped("workflow", WORKFLOWS_MAX, run.code.workflow)

    def _tenant(self, run: WatchedRun) -> tuple[str, ...]:
        return (self._capped("tenant", self._tenants_max, run.key.tenant),) if self._tenants_max else ()

    def _capped(self, label: str, most: int, *names: str) -> str:
        """The last of `names`, or `OTHER` where there are as many as may be."""
        seen = self._seen[label]
        if names in seen:
            return names[-1]
        if len(seen) >= most:
            return OTHER
        seen.add(names)
        return names[-1]


class _Host:
    """What is not of one workflow."""

    def __init__(self, registry: CollectorRegistry) -> None:
        within: Any = {"registry": registry}
        self.replay_s = Histogram("cloche_replay_seconds", "Rebuilding a cell: in its turns.", buckets=_SHORT, **within)
        self.replayed = Counter("cloche_replayed_events", "Events that were replayed to rebuild cells.", **within)
        self.mismatches = Counter(
            "cloche_replay_mismatch", "Runs blocked, for their code and history differ.", **within
        )
        self.fuel = Counter("cloche_guest_fuel", "Fuel that guests have burnt.", **within)
        self.memory = Gauge("cloche_guest_memory_bytes", "Memory of the cells that are kept.", **within)
        self.limits = Counter("cloche_sandbox_limit", "Runs ended by a fault of their guest.", ["kind"], **within)
        self.append_s = Histogram(
            "cloche_log_append_seconds", "Until an append is durable.", ["store"], buckets=_SHORT, **within
        )
        self.claim_lag_s = Histogram("cloche_claim_lag_seconds", "From due to taken.", buckets=_LONG, **within)
        self.runs = Gauge("cloche_runs", "Runs that have not ended.", ["status"], **within)
