"""Traces of runs, through OpenTelemetry's API alone: which SDK exports them, and where to, is the program's own business.

A run outlives traces, so its id is the key: each time that a worker drives it is a trace of its own, with links to the
starter's and to the one before. The attempts of its steps are spans within; what is replayed makes none. Nothing of
inputs, outputs or messages is in them.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from cloche.errors import UsageError
from cloche.history import Kind
from cloche.telemetry.watching import Watching

try:
    from opentelemetry import context as contexts
    from opentelemetry import trace
    from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
except ModuleNotFoundError as missing:
    raise UsageError("traces need an optional part: pip install 'cloche[otel]'") from missing

if TYPE_CHECKING:
    from cloche.errors import ClocheError
    from cloche.history import Record, RunKey
    from cloche.history.effects import StartStep
    from cloche.run.observing import ActiveRun, Ended, WatchedRun
    from cloche_codegen import Step

BEFORE_MAX = 10_000  # runs of which the last activation here is known, for the link to it
_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_STATUS = {"completed": StatusCode.OK, "bailed": StatusCode.OK, "suspended": StatusCode.UNSET}


class Traces(Watching):
    """An observer that traces. `provider` is that of the program; None: the global one."""

    def __init__(self, provider: trace.TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("cloche", version("cloche"), provider)
        self._active: dict[RunKey, Span] = {}
        self._before: OrderedDict[RunKey, SpanContext] = OrderedDict()

    def activated(self, run: ActiveRun, traceparent: str | None) -> None:
        starter, before = _remote(traceparent), self._before.pop(run.key, None)
        links = [Link(one, {"cloche.link": name}) for name, one in (("starter", starter), ("before", before)) if one]
        self._active[run.key] = self._tracer.start_span(
            "cloche.activate",
            contexts.Context(),  # a trace of its own, whoever calls
            SpanKind.CONSUMER,
            _attributes(run),
            links,
        )

    def committed(self, run: ActiveRun, records: Sequence[Record]) -> None:
        span = self._active.get(run.key)
        if span is None or not span.is_recording():
            return
        span.set_attribute("cloche.log.seq", records[-1].seq if records else 0)
        for record in records:
            if record.kind in (Kind.STEP_SUSPENDED, Kind.RUN_PAUSED):
                span.add_event(record.kind.name.lower(), {"step.id": record.path or ""})

    def attempt_begins(self, run: WatchedRun, step: Step, start: StartStep) -> Ended:
        above = self._active.get(run.key)
        within = trace.set_span_in_context(above, contexts.Context()) if above is not None else contexts.Context()
        more: dict[str, Any] = {"step.name": str(step.id), "step.id": start.path, "step.attempt": start.attempt}
        name = f"cloche.step {step.id}"
        span = self._tracer.start_span(name, within, SpanKind.INTERNAL, {**_attributes(run), **more})
        token = contexts.attach(trace.set_span_in_context(span, within))

        def ended(outcome: str, error: BaseException | None) -> None:
            contexts.detach(token)
            span.set_attribute("step.status", outcome)
            if error is not None:  # its text may have what nobody asked to have here
                span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(Status(_STATUS.get(outcome, StatusCode.ERROR)))
            span.end()

        return ended

    def replayed(self, run: WatchedRun, events: int, seconds: float) -> None:
        if (span := self._active.get(run.key)) is not None and events:
            span.add_event("cloche.replay", {"cloche.replayed_events": events})

    def blocked(self, run: ActiveRun, error: ClocheError) -> None:
        if (span := self._active.get(run.key)) is not None:
            span.set_attribute("error.type", error.code)
            span.set_status(Status(StatusCode.ERROR))

    def left(self, run: ActiveRun) -> None:
        span = self._active.pop(run.key, None)
        if span is None:
            return
        span.set_attribute("workflow.run.status", str(run.machine.status))
        if not run.machine.ended:
            self._before[run.key] = span.get_span_context()
            if len(self._before) > BEFORE_MAX:
                self._before.popitem(last=False)
        span.end()


def _attributes(run: WatchedRun) -> dict[str, Any]:
    names: dict[str, Any] = {"workflow.name": run.code.workflow, "workflow.run.id": run.key.run}
    return {**names, "cloche.tenant.id": run.key.tenant}


def _remote(traceparent: str | None) -> SpanContext | None:
    found = _PARENT.fullmatch(traceparent or "")
    if found is None:
        return None
    made = SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=TraceFlags(int(found[3], 16)))
    return made if made.is_valid else None
