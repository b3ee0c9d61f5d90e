"""Code as people look at it: its graph, and its source in each language that it has, with the node of each line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloche.engines import Code, graph_of, is_written
from cloche.errors import NotFound
from cloche.operations.finding import filter_of
from cloche.run.code import load_code
from cloche_codegen import GraphError, javascript, lower, python
from cloche_codegen.emission import source_of

if TYPE_CHECKING:
    from cloche.history.ids import TenantId
    from cloche.store import Store
    from cloche_codegen import Source, Workflow


@dataclass(frozen=True, slots=True)
class ShownCode:
    """`digest` is that of the bundle; None: no run has it yet. `is_deployed`: the tenant has brought it.

    `sources` are those by language, the one that is executed first; a language that the code cannot be said in is not there.
    """

    workflow: str
    digest: str | None
    guest: str | None
    is_deployed: bool
    graph: str  # JSON; "": hand-written JavaScript has none
    sources: Mapping[str, Source]

    def to_data(self) -> dict[str, Any]:
        """For JSON."""
        graph = json.loads(self.graph) if self.graph else None
        sources = [
            {
                "language": language,
                "code": source.code,
                "digest": source.digest,
                "map": [{"line": line, "node": node} for line, node in sorted(source.map.items())],
            }
            for language, source in self.sources.items()
        ]
        own = {"workflow": self.workflow, "digest": self.digest, "guest": self.guest, "is_deployed": self.is_deployed}
        return {**own, "input_schema": graph and graph.get("input_schema"), "graph": graph, "sources": sources}


async def code_of_workflow(store: Store, tenant: TenantId, id: str, registered: Workflow | None) -> ShownCode:
    """What a workflow would start with: a version by its id, what the tenant has deployed, what is `registered` in this
    process; or else what its newest run has.

    Raises:
        NotFound: there is none of these.
        HistoryError: the store has lost it.
    """
    version = await store.version_of(tenant, id)
    if version is not None:
        return await code_by_digest(store, version.digest)
    if registered is not None:
        return await asyncio.to_thread(_of_workflow, registered)
    page = await store.find(filter_of(tenant, workflow=id), limit=1)
    if not page.rows:
        raise NotFound(f"the code of workflow '{id}' is known to its workers alone", kind="workflow", id=id)
    return await code_by_digest(store, page.rows[0].code)


async def code_by_digest(store: Store, digest: str) -> ShownCode:
    """
    Raises:
        HistoryError: the store has lost it.
    """
    code = await load_code(store, digest)
    sources = {str(code.language): source_of(code.source, code.lines)}
    if not is_written(code):
        other = "python" if code.language == "javascript" else "javascript"
        sources |= await asyncio.to_thread(_emitted, code, other)
    return ShownCode(code.workflow, digest, code.guest, bool(code.owner), code.graph, sources)


def _of_workflow(workflow: Workflow) -> ShownCode:
    languages = dict.fromkeys((workflow.language, *(() if workflow.graph.native else ("javascript", "python"))))
    sources: dict[str, Source] = {}
    for language in languages:
        try:
            sources[language] = workflow.source(language)
        except GraphError:  # code strings are JavaScript
            continue
    return ShownCode(workflow.id, None, None, False, workflow.graph.to_json(), sources)


def _emitted(code: Code, language: str) -> dict[str, Source]:
    graph = graph_of(code)
    try:
        assert graph is not None
        tree = lower(graph)
        return {language: javascript(tree) if language == "javascript" else python(tree)}
    except GraphError:  # code strings are JavaScript
        return {}
