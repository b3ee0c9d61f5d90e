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
    growing = _Growing(draw, workflow, names, depth)
    while names:
        growing.add_node()
    return workflow.commit()


class _Growing:
    """A workflow to which nodes are added until all names are used; `known` are the ids that conditions may ask for."""

    def __init__(self, draw: Draw, workflow: Workflow, names: list[str], depth: int) -> None:
        self.draw, self.workflow, self.names, self.depth = draw, workflow, names, depth
        self.known: list[str] = []

    def add_node(self) -> None:
        kinds = [self.then, self.parallel, self.branch, self.choose, self.loop, self.foreach, self.map]
        kinds += [self.sleep, self.wait_for_event, self.sleep_until]
        kinds[self.draw(st.integers(0, len(kinds) - 1))]()

    def body(self) -> Any:
        id = self.names.pop()
        self.known.append(id)
        if self.depth and self.draw(st.integers(0, 5)) == 0:
            return create_workflow(id=id).then(free(id + "·inner")).map(path("inputData")).commit()
        return free(id)

    def condition(self) -> Any:
        return self.draw(predicates(list(self.known)) | codes)

    def value(self) -> Any:
        return self.draw(st.builds(path, paths(list(self.known))) | codes.map(code))

    def number_or_value(self, least: int, most: int) -> Any:
        return self.draw(st.integers(least, most)) if self.draw(st.booleans()) else self.value()

    def then(self) -> None:
        self.workflow.then(self.body(), description=self.draw(st.none() | keys))

    def parallel(self) -> None:
        arms = [self.body() for _ in range(min(len(self.names), 3))]
        policies: list[dict[str, Any]] = [{}, {"settle": True}, {"first_success": True}, {"tolerated_failures": 1}]
        policy = self.draw(st.sampled_from(policies))
        self.workflow.parallel(arms, limit=self.draw(st.none() | st.integers(1, 9)), **policy)

    def arms(self) -> list[tuple[Any, Any]]:
        known = list(self.known)
        return [(self.draw(predicates(known) | codes), self.body()) for _ in range(min(len(self.names), 3))]

    def branch(self) -> None:
        self.workflow.branch(self.arms())

    def choose(self) -> None:
        self.workflow.choose(self.arms())

    def loop(self) -> None:
        test = self.condition()
        self.workflow.dountil(self.body(), test)

    def foreach(self) -> None:
        if len(self.names) < 2:
            return self.sleep_until()
        self.workflow.map(path("initData.list"), id=self.names.pop())  # what flows may provably be no list
        width = self.number_or_value(-1, 99)
        policies: list[dict[str, Any]] = [{}, {"on_error": "collect"}, {"min_successes": 2}, {"tolerated_failures": 0}]
        policy = self.draw(st.sampled_from(policies))
        self.workflow.foreach(self.body(), concurrency=width, **policy)

    def map(self) -> None:
        fields = {key: self.value() for key in self.draw(st.lists(keys, max_size=3))}
        fields["literal"] = {"value": self.draw(data)}
        self.workflow.map(fields, id=self.names.pop())

    def sleep(self) -> None:
        self.workflow.sleep(self.number_or_value(-1, 10**6), id=self.names.pop())

    def sleep_until(self) -> None:
        dates = st.datetimes(timezones=st.just(UTC))
        self.workflow.sleep_until(self.draw(dates) if self.draw(st.booleans()) else self.value(), id=self.names.pop())

    def wait_for_event(self) -> None:
        timeout = self.number_or_value(-1, 10**6) if self.draw(st.booleans()) else None
        name = self.draw(keys.map(str.strip).filter(lambda name: flaw_of(name) is None))
        self.workflow.wait_for_event(name, timeout=timeout, id=self.names.pop())
