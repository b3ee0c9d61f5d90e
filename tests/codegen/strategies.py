"""Random graphs that are valid: ids of any allowed text, every kind of node, references only backwards."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from typing import Any

from codegen.steps_for_tests import free
from hypothesis import strategies as st

from cloche_codegen import Workflow, code, create_workflow, path
from cloche_codegen.names import flaw_of

Draw = Callable[[st.SearchStrategy[Any]], Any]
ids = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="/#[]"), min_size=1, max_size=12).filter(
    lambda id: flaw_of(id) is None
)
keys = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=6)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | keys
data = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=6
)
roots = st.sampled_from(["inputData", "initData", "state", "requestContext.user"])
steps_of_paths = st.lists(keys.filter(lambda key: "." not in key), max_size=2)


@st.composite
def paths(draw: Draw, known: list[str]) -> str:
    """A path from a root, or from a step that precedes. Ids with dots could be read two ways and are left out here."""
    plain = [id for id in known if "." not in id]
    root: str = draw(roots)
    if plain and draw(st.integers(0, 1)):
        root = f"stepResults.{draw(st.sampled_from(plain))}"
    return ".".join([root, *draw(steps_of_paths)])


def predicates(known: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    operand = st.builds(lambda p: {"path": p}, paths(known)) | st.builds(lambda v: {"literal": v}, scalars)
    sides = st.fixed_dictionaries({"left": operand, "right": operand})
    leaf = (
        st.builds(lambda op, s: {op: s}, st.sampled_from(["eq", "ne", "lt", "lte", "gt", "gte"]), sides)
        | st.builds(
            lambda op, v, s: {op: {"value": v, "set": s}},
            st.sampled_from(["in", "notIn"]),
            operand,
            st.lists(scalars, max_size=3),
        )
        | st.builds(lambda op, p: {op: {"path": p}}, st.sampled_from(["exists", "notExists"]), paths(known))
        | st.builds(lambda op, v: {op: {"value": v}}, st.sampled_from(["truthy", "falsy"]), operand)
    )
    return st.recursive(
        leaf,
        lambda inner: st.builds(
            lambda op, args: {op: {"args": args}}, st.sampled_from(["and", "or"]), st.lists(inner, max_size=3)
        )
        | st.builds(lambda arg: {"not": {"arg": arg}}, inner),
        max_leaves=5,
    )  # fmt: skip


codes = st.sampled_from(
    ["true", "inputData.x > 1 // why", "getStepResult('a') ?? stepResults.b", "(() => { return 1; })()"]
)


@st.composite
def workflows(draw: Draw, depth: int = 1) -> Workflow:
    """A committed workflow; some of its steps are workflows again."""
    names = draw(st.lists(ids, min_size=2, max_size=24, unique=True))
    taken = names.pop()
    workflow = create_workflow(
        id=taken, description=draw(st.none() | keys), metadata=draw(st.dictionaries(keys, data, max_size=2))
    )
    known: list[str] = []

    def body() -> Any:
        id = names.pop()
        known.append(id)
        if depth and draw(st.integers(0, 5)) == 0:
            return create_workflow(id=id).then(free(id + "·inner")).map(path("inputData")).commit()
        return free(id)

    def condition() -> Any:
        return draw(predicates(list(known)) | codes)

    def value() -> Any:
        return draw(st.builds(path, paths(list(known))) | codes.map(code))

    while names:
        kind = draw(st.integers(0, 9))
        before = list(known)
        match kind:
            case 0:
                workflow.then(body(), description=draw(st.none() | keys))
            case 1:
                arms_at_once = [body() for _ in range(min(len(names), 3))]
                policy: dict[str, Any] = draw(
                    st.sampled_from([{}, {"settle": True}, {"first_success": True}, {"tolerated_failures": 1}])
                )
                workflow.parallel(arms_at_once, limit=draw(st.none() | st.integers(1, 9)), **policy)
            case 2 | 3:
                arms = []
                for _ in range(min(len(names), 3)):
                    arms.append((draw(predicates(before) | codes), body()))
                workflow.branch(arms) if kind == 2 else workflow.choose(arms)
            case 4:
                test = condition()
                workflow.dountil(body(), test)
            case 5 if len(names) > 1:
                workflow.map(path("initData.list"), id=names.pop())  # what flows may provably be no list
                width = draw(st.integers(-1, 99)) if draw(st.booleans()) else value()
                policy = draw(
                    st.sampled_from([{}, {"on_error": "collect"}, {"min_successes": 2}, {"tolerated_failures": 0}])
                )
                workflow.foreach(body(), concurrency=width, **policy)
            case 6:
                fields = {key: value() for key in draw(st.lists(keys, max_size=3))}
                fields["literal"] = {"value": draw(data)}
                workflow.map(fields, id=names.pop())
            case 8:
                timeout = draw(st.none() | st.integers(-1, 10**6)) if draw(st.booleans()) else value()
                workflow.wait_for_event(
                    draw(keys.map(str.strip).filter(lambda name: flaw_of(name) is None)),
                    timeout=timeout,
                    id=names.pop(),
                )
            case 7:
                workflow.sleep(draw(st.integers(-1, 10**6)) if draw(st.booleans()) else value(), id=names.pop())
            case _:
                at = draw(st.datetimes(timezones=st.just(UTC))) if draw(st.booleans()) else value()
                workflow.sleep_until(at, id=names.pop())
    return workflow.commit()
