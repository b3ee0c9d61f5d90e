"""The trace context of whoever starts a run: it is kept in the run, as its tag `traceparent`."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping

from cloche.run.observing import TRACEPARENT

TAGS_MAX = 32
_FORM = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def traceparent_now() -> str | None:
    """That of the span which is current here, as W3C Trace Context has it; None where nobody traces."""
    trace = sys.modules.get("opentelemetry.trace")  # who traces has it loaded
    if trace is None:
        return None
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def tags_with_starter(tags: Mapping[str, str] | None, traceparent: str | None = None) -> Mapping[str, str] | None:
    """`tags` with the trace context of the starter, unless they have one, or are as many as may be.

    `traceparent` is that of a request from elsewhere; one that is none is left out.
    """
    if traceparent is None:
        traceparent = traceparent_now()
    is_one = traceparent is not None and _FORM.fullmatch(traceparent)
    if traceparent is None or not is_one or TRACEPARENT in (tags or {}) or len(tags or {}) >= TAGS_MAX:
        return tags
    return {**(tags or {}), TRACEPARENT: traceparent}
