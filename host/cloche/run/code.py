"""What a run is pinned to, read back from the store: its code, its graph, its guest, its retries."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from cloche.engines import CellSource, Code
from cloche.errors import HistoryError
from cloche.history.retry import DELAY_MS_MAX, RetryPolicy
from cloche.store import Store, blob_digest

if TYPE_CHECKING:
    from cloche.client.workflows import Workflow
    from cloche_codegen import Graph, Step


def code_of(workflow: Workflow, engine: CellSource) -> Code:
    """What a run of `workflow` that begins now is pinned to."""
    source, language = workflow.source(), workflow.language
    guest, _ = engine.guest(language)
    return Code(workflow.id, guest, source.code, dict(source.map), workflow.graph.to_json(), language)


def policy_of(code: Code, step: Step) -> RetryPolicy:
    """The retries of a step in runs of `code`.

    In the host's own code they are as the pinned graph has them. In code that a tenant brought the host's step is the upper
    bound: its graph can ask for fewer attempts, and the rest is the step's own. One that runs at most once is never repeated.
    """
    graph = graph_of(code)
    if step.at_most_once:
        return RetryPolicy()
    asked = _policy(graph, step)
    if not code.owner:
        return asked
    allowed = _policy(None, step)
    has_asked = graph is not None and _says(graph, step)
    return replace(allowed, retries=min(asked.retries, allowed.retries)) if has_asked else allowed


def _says(graph: Graph, step: Step) -> bool:
    """Whether a graph says how often a step is tried, itself or for all of its steps."""
    spec = graph.steps.get(step.id)
    own = spec is not None and (spec.retries is not None or spec.retry_config is not None)
    return own or graph.retry_config is not None


def _policy(graph: Graph | None, step: Step) -> RetryPolicy:
    """The step's own configuration, else its workflow's; `retries` of the step overrides the number of attempts.

    A step that the graph does not know is asked itself.
    """
    spec = graph.steps.get(step.id) if graph is not None else None
    config = (spec or step).retry_config or (graph.retry_config if graph is not None else None)
    retries = (spec or step).retries
    if config is None:
        return RetryPolicy(retries or 0)
    return RetryPolicy(
        config.attempts if retries is None else retries,
        int(config.delay_s * 1000),
        config.factor,
        DELAY_MS_MAX if config.delay_s_max is None else int(config.delay_s_max * 1000),
        config.jitter,
        getattr(config, "retry_on", None),
    )


def load_code(store: Store, digest: str) -> Code:
    """The code a run is pinned to.

    Raises:
        HistoryError: the store has lost it.
    """
    packed = store.blob(digest)
    if packed is None or blob_digest(packed) != digest:
        raise HistoryError(f"the code {digest[:12]} of this run is not in the store, or is damaged", digest=digest)
    return Code.unpack(packed)


def graph_of(code: Code) -> Graph | None:
    """The graph that a run's code was made from; None for hand-written code."""
    from cloche_codegen import Graph

    return Graph.from_json(code.graph) if code.graph else None


def is_native(code: Code) -> bool:
    """Whether the code is a workflow that its author wrote as Python: it is told when its run is to end."""
    return code.language == "python" and (not code.graph or _said(code.graph)[1])


def mode_of(code: Code) -> str:
    """What its author allowed functions to do: `strict`, also of hand-written code, or `host-closures`."""
    return _said(code.graph)[0] if code.graph else "strict"


@lru_cache(1_000)
def _said(graph: str) -> tuple[str, bool]:
    """Of a graph as JSON: its mode, and whether it is a native workflow."""
    read = json.loads(graph)
    return read.get("mode", "strict"), read.get("native") is not None


def load_guest(store: Store, digest: str) -> bytes:
    """The guest a run is pinned to; as `load_code`."""
    wasm = store.blob(digest)
    if wasm is None or blob_digest(wasm) != digest:
        raise HistoryError(f"the guest {digest[:12]} of this run is not in the store, or is damaged", digest=digest)
    return wasm
