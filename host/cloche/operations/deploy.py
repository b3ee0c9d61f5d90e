"""Code that a tenant brings at run time: checked, loaded once under glass, kept with its guest, and started by name.

Nothing that a tenant brings is evaluated outside of the glass, and nothing of it is kept that does not load: a top level that
spins or allocates meets the limits of a turn. What is kept is a code bundle like that of any run, with its owner's name in it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cloche.engines import CellSource, Code, Language
from cloche.errors import DeployRefused, GuestFault, LimitExceeded, LoadFailed, UsageError
from cloche.history import TenantId, TimeMs
from cloche.history.ids import is_valid_id
from cloche.run.code import code_of
from cloche.steps.registry import load_graph
from cloche.store import Store, Version, blob_digest
from cloche.tenancy import Policy

if TYPE_CHECKING:
    from cloche_codegen import Graph

VERSIONS_MAX = 1_000  # of a tenant: with source of 4 MiB each, 4 GiB of a store that others share
DIGEST_CHARS = 16  # of a bundle's digest, in the id of a version

log = logging.getLogger("cloche")


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is to be deployed: source in `language`, or a graph (its JSON, or the model), for the workflow of this id.

    `workflow` may be left out for a graph, which has one.
    """

    tenant: TenantId
    content: str | Graph
    workflow: str | None = None
    language: Language | None = None
    policy: Policy = Policy()  # the tenant's: it bounds the source, and the loading

    def refused(self, why: str, reason: str, line: int | None = None, **facts: Any) -> DeployRefused:
        where = f"line {line}: " if line is not None else ""
        name = self.workflow or "without an id"
        return DeployRefused(
            f"the code of workflow '{name}' of tenant {self.tenant} cannot be deployed: {where}{why}",
            tenant=self.tenant,
            workflow=self.workflow,
            reason=reason,
            line=line,
            **facts,
        )


async def deploy(store: Store, engine: CellSource, one: Deployment, now: TimeMs) -> Version:
    """Check, load and keep it; the same content is the same version. Blocks for as long as the code takes to load.

    Raises:
        DeployRefused: it is no such code, does not load, or met a limit. Nothing was kept.
        StoreUnavailable: the store did not take it.
    """
    return await keep(store, engine, one, baked(engine, one), now)


def baked(engine: CellSource, one: Deployment) -> Code:
    """The bundle of what is to be deployed, once it has been loaded under glass, within the limits of a turn.

    Raises:
        DeployRefused
    """
    code = _code(engine, one)
    try:
        engine.load(code, lambda: engine.guest(code.language)[1], one.policy.limits(), one.tenant)
    except LoadFailed as error:
        place = getattr(error.facts.get("failure"), "data", None)
        line, column = (place.get(name) if isinstance(place, dict) else None for name in ("line", "column"))
        raise one.refused(error.message, error.code, line, column=column) from error
    except (GuestFault, UsageError) as error:
        met = {name: error.facts[name] for name in ("limit", "value", "asked") if name in error.facts}
        raise one.refused(error.message, error.code, **met) from error
    return code


async def keep(store: Store, engine: CellSource, one: Deployment, code: Code, now: TimeMs) -> Version:
    """Keep a bundle that was baked, and its guest, as what its workflow starts with from now on.

    Raises:
        DeployRefused: the tenant has as many versions as it may.
    """
    packed = code.pack()
    digest = blob_digest(packed)
    guest_digest, wasm = engine.guest(code.language)
    version = Version(one.tenant, f"{code.workflow}@{digest[:DIGEST_CHARS]}", code.workflow, digest, now)
    if await store.version_of(one.tenant, version.id) is None and len(await store.versions(one.tenant)) >= VERSIONS_MAX:
        raise one.refused(f"{VERSIONS_MAX:,} versions are deployed: withdraw some", "too-many-versions")
    return await store.deploy(version, {guest_digest: wasm, digest: packed})


def _code(engine: CellSource, one: Deployment) -> Code:
    size = len(one.content.encode("utf-8", "surrogatepass")) if isinstance(one.content, str) else 0
    if size > (most := one.policy.source_bytes):
        why = f"it has {size} bytes, and the policy allows {most} (source_bytes)"
        raise one.refused(why, LimitExceeded.code, limit="source_bytes", value=most, asked=size)
    text = one.content
    if one.language is None:
        code = _of_graph(engine, one)
    else:
        assert isinstance(text, str)
        guest, _ = engine.guest(one.language)
        code = Code(one.workflow or "", guest, text, {}, "", one.language)
    if not is_valid_id(code.workflow):
        raise one.refused("give the workflow an id of 1 to 200 bytes without control characters", "bad-id")
    return replace(code, owner=one.tenant)


def _of_graph(engine: CellSource, one: Deployment) -> Code:
    from cloche_codegen import GraphError
    from cloche_codegen.errors import PROBLEMS_MAX

    try:
        graph = one.content if isinstance(one.content, str) else one.content.to_json()
        workflow = load_graph(graph, is_accepted=False)
        if one.workflow not in (None, workflow.id):
            raise one.refused(f"its graph is that of workflow '{workflow.id}'", "bad-id")
        return code_of(workflow, engine)
    except GraphError as error:
        told = error.problems[:PROBLEMS_MAX]
        problems = [{"code": found.code, "path": found.path, "message": found.message} for found in told]
        raise one.refused(error.message, error.code, problems=problems, problem_count=len(error.problems)) from error
    except (RecursionError, ValueError) as error:
        raise one.refused(f"its graph cannot be read: {error}", "bad-graph") from error
