"""Code that a tenant brings at run time: checked, loaded once under glass, kept with its guest, and started by name.

What a tenant brings is read in a process of its own (`sandbox.process.readers`) and evaluated there, under glass; nothing of it
is kept that does not load. A graph that is slow to read, or a top level that spins or allocates, meets limits and ends in
`DeployRefused`. What is kept is a code bundle like that of any run, with its owner's name in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from cloche.engines import CellSource, Code, Language, SandboxEngine, SourceLanguage, pinned_guest
from cloche.engines.files import texts_of
from cloche.errors import (
    CellLost,
    CompileError,
    DeployRefused,
    GuestFault,
    LimitExceeded,
    LoadFailed,
    TargetError,
    UsageError,
)
from cloche.history import DEFAULT_TENANT, TenantId, TimeMs
from cloche.history.ids import NAME_SIZE_MAX, is_valid_id
from cloche.operations.acts import Act, write_act
from cloche.operations.typescript import deploying
from cloche.run.source_maps import places_in, with_map_beside
from cloche.sandbox.process.readers import GraphRead, NoGraph, Readers
from cloche.store import Store, Version, blob_digest
from cloche.tenancy import Policy

if TYPE_CHECKING:
    from cloche_codegen import Graph

VERSIONS_MAX = 1_000  # of a tenant: with source of 4 MiB each, 4 GiB of a store that others share
WHY_CHARS = 4_000  # of a refusal's message
WHY_LINES, WHY_LINE_CHARS = 25, 160  # of a longer one: a line for each of the problems that are told
NAMED_STEPS_MAX = 1_000  # calls of steps in a source that are looked at for what is not granted
# `step("id")` in both languages, and JavaScript's own way to have one.
_NAMED_STEP = re.compile(r"""(?:\bstep|WORKFLOW_USE_STEP["']\)\])\(\s*(["'])([^"'\\\n]{1,200})\1\s*[,)]""")
_STRICT = Policy.strict()
DIGEST_CHARS = 16  # of a bundle's digest, in the id of a version


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 2]} …"


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is to be deployed: source in `language`, or a graph (its JSON, or the model), for the workflow of this id.

    `workflow` may be left out for a graph, which has one, and for TypeScript that has one. Of TypeScript `content` may also be
    several files, and which of them has the workflow.
    """

    tenant: TenantId
    content: str | Graph | deploying.Brought
    workflow: str | None = None
    language: SourceLanguage | None = None
    policy: Policy = Policy.strict()  # the tenant's: it bounds the source, and the loading
    by: str = ""  # who brings it, for the audit log

    def refused(self, why: str, reason: str, line: int | None = None, **facts: Any) -> DeployRefused:
        """`line`, and `column`, are in what was given; `place` is where that was written, if its source map says so."""
        where = f"{facts['place']}: " if facts.get("place") else f"line {line}: " if line is not None else ""
        what = f"the code of workflow '{self.workflow}'" if self.workflow else "the code"
        if len(why) > WHY_CHARS:  # it may quote what was given
            why = "\n".join(_cut(one, WHY_LINE_CHARS) for one in why.splitlines()[:WHY_LINES])
        return DeployRefused(
            f"{what} of tenant {self.tenant} cannot be deployed: {where}{why}",
            tenant=self.tenant,
            workflow=self.workflow,
            reason=reason,
            line=line,
            **facts,
        )


@dataclass(frozen=True, slots=True)
class Bundle:
    """Code that was loaded, and its bytes as they are stored: to pack 4 MB takes time that the event loop does not have."""

    code: Code
    packed: bytes
    not_granted: tuple[str, ...] = ()  # steps that its source names, and its policy does not let it call


async def deploy(store: Store, engine: CellSource, one: Deployment, now: TimeMs) -> tuple[Version, tuple[str, ...]]:
    """Check, load and keep it, with a reader for it alone; the same content is the same version. Blocks meanwhile.

    With the steps that its source names and its policy does not grant.

    Raises:
        DeployRefused: it is no such code, does not load, or met a limit. Nothing was kept.
        StoreUnavailable: the store did not take it.
        GuestUnavailable: no process can be started to read it in.
    """
    with closing(Readers(has_spare=False)) as readers:
        bundle = baked(engine, readers, one)
        return await keep(store, engine, one, bundle, now), bundle.not_granted


def with_source_map(text: str, file: Path, policy: Policy = _STRICT) -> tuple[str, str | None]:
    """The text of the bundle in `file`, with the source map that lies beside it if the policy has room for both; and why it was
    left out."""
    return with_map_beside(text, file, policy.source_bytes)


def read_graph(engine: CellSource, text: bytes, target: str) -> Code:
    """The code of a stored graph as a run of it would begin now, read as a tenant's is. `target` is what messages call it.

    Raises:
        TargetError: it is no graph, or it took more than a text may take to find out.
    """
    with closing(Readers(has_spare=False)) as readers:
        try:
            found = readers.read(DEFAULT_TENANT, text.decode(errors="replace"))
        except CellLost as error:
            raise TargetError(f"{target} could not be read: {error.message}", target=target) from error
    if isinstance(found, NoGraph):
        raise TargetError(f"{target}: {found.message}", target=target)
    return _as_code(engine, found)


def check_content(content: object, workflow: object) -> None:
    """
    Raises:
        UsageError: a program gives what is no code, or no name.
    """
    if content is None:
        raise UsageError("give the code that is to be deployed: a graph, a source, or files")
    if not isinstance(content, (str, deploying.Brought)) and not hasattr(content, "to_json"):
        raise UsageError(f"code is text, or a graph, and not {type(content).__name__}: decode bytes first")
    if workflow is not None and not isinstance(workflow, str):
        raise UsageError(f"the id of a workflow is text, and not {type(workflow).__name__}")


def baked(engine: CellSource, readers: Readers, one: Deployment) -> Bundle:
    """The bundle of what is to be deployed, once it has been read and loaded in a process of its tenant, within limits.

    Raises:
        DeployRefused, GuestUnavailable
    """
    try:
        if one.language == "typescript":
            one = _compiled(engine, readers, one)
        code = _code(engine, readers, one)
        _load(engine, readers, one, code)
    except LoadFailed as error:
        data = getattr(error.facts.get("failure"), "data", None)
        line, column, file = (data.get(name) if isinstance(data, dict) else None for name in ("line", "column", "file"))
        written = next(
            (":".join(map(str, at)) for at in places_in(code.source, [(line or 0, column or 0)]).values()), None
        )
        why = error.message if file is None else f"{file}: {error.message}"
        raise one.refused(why, error.code, line, column=column, place=written) from error
    except CellLost as error:
        raise one.refused(f"to read it took more than a text may take: {error.message}", "too-costly") from error
    except DeployRefused:
        raise
    except (GuestFault, UsageError) as error:
        met = {name: error.facts[name] for name in ("limit", "value", "asked") if name in error.facts}
        raise one.refused(error.message, error.code, **met) from error
    named = "\n".join([code.source, *texts_of(code.source).values()])
    return Bundle(code, code.pack(), tuple(_not_granted(named, one.policy)))


async def keep(store: Store, engine: CellSource, one: Deployment, bundle: Bundle, now: TimeMs) -> Version:
    """Keep a bundle that was baked, and its guest, as what its workflow starts with from now on.

    Raises:
        DeployRefused: the tenant has as many versions as it may.
    """
    code, packed = bundle.code, bundle.packed
    digest = blob_digest(packed)
    guest_digest, wasm = engine.guest(code.language)
    version = Version(one.tenant, version_id(code.workflow, digest), code.workflow, digest, now)
    if await store.version_of(one.tenant, version.id) is None and len(await store.versions(one.tenant)) >= VERSIONS_MAX:
        raise one.refused(f"{VERSIONS_MAX:,} versions are deployed: withdraw some", "too-many-versions")
    await write_act(store, Act.DEPLOYED, one.by, now, one.tenant, version=version.id, digest=digest)
    return await store.deploy(version, {guest_digest: wasm, digest: packed})


def version_id(workflow: str, digest: str) -> str:
    """Of the version that has the bundle of this digest."""
    return f"{workflow}@{digest[:DIGEST_CHARS]}"


def grants_to_write(steps: Sequence[str]) -> str:
    """The policy that lets code call these steps, as one writes it."""
    return f"Policy.strict(steps=[{', '.join(f'Grant(step={json.dumps(step)})' for step in steps)}])"


def _not_granted(source: str, policy: Policy) -> Iterator[str]:
    """In the order in which the source names them: by a literal. What it computes is found when it is called."""
    granted = None if policy.steps is None else {grant.step for grant in policy.steps}
    named = dict.fromkeys(found[2] for found in islice(_NAMED_STEP.finditer(source), NAMED_STEPS_MAX))
    for step in named:
        name = step.rpartition("//")[2]  # as `Registry.named` looks for it
        if granted is not None and not granted & {step, name, name.rpartition("/")[2]}:
            yield step


def _compiled(engine: CellSource, readers: Readers, one: Deployment) -> Deployment:
    """TypeScript as the JavaScript that runs; `DeployRefused` has the author's file, line and column."""
    _check_text(one)
    brought = one.content if isinstance(one.content, deploying.Brought) else None
    if brought is None:
        assert isinstance(one.content, str)
        brought = deploying.Brought({deploying.ENTRY: one.content}, deploying.ENTRY)
    try:
        made = deploying.compiled_by(engine, readers, one.tenant, brought, one.policy.source_bytes)
        workflow = deploying.workflow_in(made, one.workflow)
    except CompileError as error:
        raise one.refused(deploying.why(error), error.code, **deploying.facts_of(error)) from error
    return replace(one, content=made.source, workflow=workflow, language="javascript")


def _load(engine: CellSource, readers: Readers, one: Deployment, code: Code) -> None:
    """Where cells are made of wasm it is loaded in the process that has read it, and nothing of it is kept."""
    limits = one.policy.limits()
    if isinstance(engine, SandboxEngine):
        readers.evaluate(one.tenant, code.guest, lambda: engine.guest(code.language)[1], code.source, limits)
    else:
        engine.load(code, lambda: engine.guest(code.language)[1], limits, one.tenant)


def source_code(engine: CellSource, one: Deployment) -> Code:
    """The code of a source as it is kept, before it was loaded.

    Raises:
        DeployRefused: it is too large, no text, or in no language that there is.
    """
    _check_size(one, one.content, "it")
    _check_text(one)
    if one.language is None or one.language == "typescript" or one.language not in get_args(Language):
        known = ", ".join(get_args(SourceLanguage))
        raise one.refused(f"source is in {known}, and not in {str(one.language)[:NAME_SIZE_MAX]!r}", "bad-language")
    assert isinstance(one.content, str)
    guest, abi = pinned_guest(engine, one.language)
    return _owned(one, Code(one.workflow or "", guest, one.content, {}, "", one.language, abi=abi))


def _code(engine: CellSource, readers: Readers, one: Deployment) -> Code:
    if one.language is not None:
        return source_code(engine, one)
    _check_size(one, one.content, "it")
    return _owned(one, _of_graph(engine, readers, one))


def _owned(one: Deployment, code: Code) -> Code:
    if not is_valid_id(code.workflow):
        why = "give the workflow an id of 1 to 200 bytes without control characters"
        raise one.refused(why if one.workflow else f"{why}: deploy(…, workflow='…')", "bad-id")
    return replace(code, owner=one.tenant)


def _check_size(one: Deployment, content: object, what: str) -> None:
    size = len(content.encode("utf-8", "surrogatepass")) if isinstance(content, str) else 0
    if size > (most := one.policy.source_bytes):
        why = f"{what} has {size} bytes, and the policy allows {most} (source_bytes)"
        raise one.refused(why, LimitExceeded.code, limit="source_bytes", value=most, asked=size)


def _check_text(one: Deployment) -> None:
    """Half of a character in a source would be met when it is stored. In a graph it is the reader's problem."""
    if isinstance(one.content, str) and one.language is not None:
        try:
            one.content.encode()
        except UnicodeEncodeError as error:
            line = one.content.count("\n", 0, error.start) + 1
            raise one.refused(
                "it has half of a character in it (a lone surrogate), so it is no text", "bad-text", line
            ) from None


def _of_graph(engine: CellSource, readers: Readers, one: Deployment) -> Code:
    graph = one.content if isinstance(one.content, str) else one.content.to_json()  # type: ignore[union-attr]
    found = readers.read(one.tenant, graph)
    if isinstance(found, NoGraph):
        problems = [{"code": code, "path": path, "message": message} for code, path, message in found.problems]
        raise one.refused(found.message, found.code, problems=problems, problem_count=found.count)
    if one.workflow not in (None, found.workflow):
        raise one.refused(f"its graph is that of workflow '{found.workflow}'", "bad-id")
    _check_size(one, found.source, "the source that its graph becomes")
    return _as_code(engine, found)


def _as_code(engine: CellSource, found: GraphRead) -> Code:
    guest, abi = pinned_guest(engine, found.language)
    return Code(found.workflow, guest, found.source, found.lines, found.graph, found.language, abi=abi)
