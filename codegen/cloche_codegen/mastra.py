"""Importing Mastra's workflows: storable definitions, and `serializedStepGraph` of three generations (0.20, 1.0–1.40, 1.71).

What is data is taken over with its meaning: predicates and templates mean the same here. What is JavaScript source (conditions,
maps, durations that were functions) is refused by its path, or replaced by a Python function bound to it in `functions`. Steps
are never in such a graph, nor are their schemas and retries: they are given in `steps`. Source of the shapes: `toStorableGraph`
and `DynamicWorkflowGraph` of Mastra 1.71, and dumps of the older versions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from cloche_codegen.builder import AnyStep, Workflow
from cloche_codegen.errors import GraphError, Problem
from cloche_codegen.factories import clone_workflow
from cloche_codegen.steps import Step, clone_step, create_step

W = TypeVar("W", bound=Workflow)
_SAFE_INTEGER_MAX: Final = 2**53
_CUT: Final = 1000  # where Mastra cuts the text of a mapConfig for display
_SINGLE: Final = ("step", "agent", "tool", "classifier", "mapping", "workflow")
_CALLED: Final = {"agent": "agentId", "tool": "toolId", "classifier": "classifierId"}
_KINDS_OF_FIELDS: Final = (
    {"value"}, {"template"}, {"requestContextPath"}, {"step"}, {"step", "path"}, {"initData"}, {"initData", "path"}, {"fn"},
)  # fmt: skip


def from_mastra(
    definition: Any,
    steps: Mapping[str, Any] | Iterable[Step] = (),
    *,
    workflow_class: type[W],
    functions: Mapping[str, Any] | None = None,
    workflows: Mapping[str, Any] | None = None,
    id: str | None = None,
) -> W:
    """The committed workflow of a Mastra definition.

    Args:
        definition: a storable or dynamic definition (with `graph`), an object with `serializedStepGraph`, or the list of its
            entries; as data or as JSON text.
        steps: what the entries name: steps, workflows, or functions, by id. Agents, tools and classifiers are steps too, by
            the id of their entry or their own.
        functions: what stands for JavaScript: conditions, maps and durations in any form the builder takes, by the path of
            the source (`graph[2].serializedConditions[0].fn`) or the id of its entry (`approve-condition`, the id of a
            mapping, `mapping.field`, a sleep). Durations are seconds, as everywhere here.
        workflows: definitions of nested workflows that are named and not inlined, by id.
        id: of a graph that does not hold its own.

    Raises:
        GraphError: with every problem, its path that of the definition.
    """
    data = _read(definition)
    given = dict(steps) if isinstance(steps, Mapping) else {step.id: step for step in steps}
    reading = _Reading(workflow_class, given, dict(functions or {}), dict(workflows or {}), json.dumps(data))
    made: W = reading.workflow(data, id, "")
    reading.problems += (
        Problem("unknown_reference", key, "a function is given for this, and nothing here asks for one")
        for key in reading.functions
        if key not in reading.bound
    )
    if reading.problems:
        raise GraphError.all("this Mastra workflow cannot be imported", reading.problems)
    return made.commit()


def _read(definition: Any) -> Any:
    """JSON as JavaScript reads it: every number is a double."""
    text = definition if isinstance(definition, str | bytes) else json.dumps(definition)
    try:
        return json.loads(text, parse_int=_number, parse_constant=_no_number)
    except ValueError as error:
        raise GraphError.one("bad_graph", "graph", f"this is no JSON: {error}") from error


def _number(digits: str) -> int | float:
    value = int(digits)
    return float(digits) if abs(value) > _SAFE_INTEGER_MAX or digits == "-0" else value


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


class _Reading:
    """One import: what was given, and the problems found on the way."""

    def __init__(
        self,
        workflow_class: type[Any],
        steps: dict[str, Any],
        functions: dict[str, Any],
        workflows: dict[str, Any],
        text: str,
    ) -> None:
        self.workflow_class = workflow_class
        self.steps = steps
        self.functions = functions
        self.workflows = workflows
        self.text = text
        self.problems: list[Problem] = []
        self.bound: set[str] = set()
        self.nested: dict[str, Workflow] = {}
        self.open: list[str] = []

    def problem(self, code: str, path: str, message: str) -> None:
        self.problems.append(Problem(code, path or "graph", message))

    # ── a workflow ──────────────────────────────────────────────────────────────────────────────────────────────────
    def workflow(self, data: Any, id: str | None, path: str) -> Any:
        head: Mapping[str, Any] = data if isinstance(data, Mapping) else {}
        key = next(
            (one for one in ("graph", "serializedStepGraph", "serializedStepFlow", "stepGraph") if one in head), "graph"
        )
        entries = head.get(key) if head else data
        name = id or head.get("id") or head.get("name") or head.get("workflowId")
        if not isinstance(name, str):
            self.problem("bad_id", path, "the definition has no id; give one with id=")
            name = "workflow"
        made = self.workflow_class(
            id=name,
            description=_text(head.get("description")),
            metadata=head.get("metadata"),
            input_schema=head.get("inputSchema"),
            output_schema=head.get("outputSchema"),
            state_schema=head.get("stateSchema"),
        )
        if not isinstance(entries, list):
            self.problem("bad_graph", f"{path}{key}", "this is no list of entries")
            return made
        for index, entry in enumerate(entries):
            self.entry(made, entry, f"{path}{key}[{index}]")
        return made

    def entry(self, made: Workflow, entry: Any, path: str) -> None:
        kind = entry.get("type") if isinstance(entry, Mapping) else None
        match kind:
            case "mapping":
                self.mapping(made, entry, path)
            case "step" if "mapConfig" in (step := _part(entry, "step")):
                self.mapping(made, step, f"{path}.step")
            case "step" | "agent" | "tool" | "classifier" | "workflow":
                if (body := self.single(entry, path)) is not None:
                    made.then(body, **_labels_of(entry))
            case "sleep" | "sleepUntil":
                self.sleep(made, entry, path)
            case "parallel":
                if arms := self.arms(entry, path):
                    made.parallel(arms, id=entry.get("id"), **_labels_of(entry))
            case "conditional":
                self.conditional(made, entry, path)
            case "loop" | "foreach":
                self.repeated(made, entry, path)
            case "waitForEvent":
                message = (
                    "waitForEvent gave its event to a step as resume data, which nothing here does: let the step suspend, or "
                    "build this part with wait_for_event"
                )
                self.problem("not_importable", path, message)
            case _:
                self.problem("bad_graph", path, f"{kind!r} is no kind of entry that is known here")

    # ── single entries ──────────────────────────────────────────────────────────────────────────────────────────────
    def single(self, entry: Any, path: str) -> AnyStep | None:
        """The step or workflow of an entry; of one that is bare too, as loops had them once."""
        if not isinstance(entry, Mapping):
            self.problem("bad_graph", path, "this is no entry")
            return None
        kind = entry.get("type", "step")
        if kind not in _SINGLE:
            self.problem("not_importable", path, f"a {kind} cannot stand here; put it into a workflow of its own")
            return None
        body = entry.get("step", entry) if kind == "step" else entry
        if kind == "mapping" or "mapConfig" in body:
            self.problem("not_importable", path, "a mapping cannot stand here; put it into a workflow of its own")
            return None
        if kind == "workflow" or body.get("component") == "WORKFLOW":
            return self.called(body, path)
        found = self.found(body.get("id"), body.get(_CALLED.get(kind, "id")), path)
        if found is not None and found.id != body.get("id") and isinstance(found, Workflow):
            return clone_workflow(found, id=body["id"])
        return found

    def found(self, id: Any, own: Any, path: str) -> AnyStep | None:
        """What is given under the id of an entry, or under that of what it calls."""
        found = self.steps.get(id, self.steps.get(own))
        if found is None:
            message = f"no step is given for {id!r}: its code is not in the graph; pass it in steps="
            self.problem("unknown_reference", path, message)
        elif isinstance(found, Step) and found.id != id:
            found = self.steps[id] = clone_step(found, id=str(id))
        elif not isinstance(found, Step | Workflow):
            found = self.steps[id] = create_step(id=str(id), execute=found)
        return found

    def called(self, entry: Mapping[str, Any], path: str) -> AnyStep | None:
        """A nested workflow: the entry's own id keys its result, the id it names finds its definition."""
        id = str(entry.get("id"))
        name = str(entry.get("workflowId") or id)
        flow = entry.get("serializedStepFlow")
        if name in self.open:
            self.problem("workflow_cycle", path, f"workflow {name!r} is nested in itself")
            return None
        if name not in self.nested:
            if isinstance(self.steps.get(name), Workflow):
                self.nested[name] = self.steps[name]
            elif name in self.workflows or isinstance(flow, list):
                self.open.append(name)
                before = len(self.problems)
                data = _read(self.workflows[name]) if name in self.workflows else {"serializedStepFlow": flow}
                inner = self.workflow(data, name, f"workflows.{name}." if name in self.workflows else f"{path}.")
                self.open.pop()
                if len(self.problems) > before:
                    return None
                self.nested[name] = inner.commit()
            else:
                message = f"workflow {name!r} is neither inlined nor given; pass its definition in workflows="
                self.problem("unknown_reference", path, message)
                return None
        found = self.nested[name]
        return found if found.id == id else clone_workflow(found, id=id)

    # ── blocks ──────────────────────────────────────────────────────────────────────────────────────────────────────
    def arms(self, entry: Mapping[str, Any], path: str) -> list[Any]:
        arms = entry.get("steps")
        if not isinstance(arms, list):
            self.problem("bad_graph", f"{path}.steps", "this is no list of entries")
            return []
        found = [self.single(arm, f"{path}.steps[{index}]") for index, arm in enumerate(arms)]
        return [] if None in found else found

    def conditional(self, made: Workflow, entry: Mapping[str, Any], path: str) -> None:
        arms = self.arms(entry, path)
        predicates, sources = entry.get("predicates") or [], entry.get("serializedConditions") or []
        tests = [
            self.condition(
                _at(predicates, i), _at(sources, i), f"{path}.predicates[{i}]", f"{path}.serializedConditions[{i}]"
            )
            for i in range(len(entry.get("steps") or []))
        ]
        if arms and None not in tests:
            made.branch(list(zip(tests, arms, strict=True)), id=entry.get("id"), **_labels_of(entry))

    def condition(self, predicate: Any, source: Any, place: str, path: str) -> Any:
        """A predicate, or what is bound in place of the source; beside a predicate the source is only a label."""
        if isinstance(predicate, Mapping):
            return predicate.get("predicate", predicate)
        if predicate is not None:
            self.problem("bad_predicate", place, "this is no predicate")
            return None
        if not isinstance(source, Mapping):
            self.problem("bad_graph", path, "there is neither a predicate nor a condition")
            return None
        return self.function(f"{path}.fn", source.get("id"), "a condition")

    def repeated(self, made: Workflow, entry: Mapping[str, Any], path: str) -> None:
        body = self.single(entry.get("step"), f"{path}.step")
        if entry["type"] == "foreach":
            options = entry.get("opts") or {}
            width = options.get("concurrency", 1)
            if "fn" in options:
                width = self.function(f"{path}.opts.fn", entry.get("id"), "a concurrency")
            if body is not None and width is not None:
                made.foreach(body, concurrency=width, id=entry.get("id"), **_labels_of(entry))
            return
        test = self.condition(
            entry.get("predicate"), entry.get("serializedCondition"), f"{path}.predicate", f"{path}.serializedCondition"
        )
        add = {"dountil": made.dountil, "dowhile": made.dowhile}.get(entry.get("loopType", ""))
        if add is None:
            self.problem("bad_graph", f"{path}.loopType", f"{entry.get('loopType')!r} is neither dountil nor dowhile")
        elif body is not None and test is not None:
            add(body, test, id=entry.get("id"), **_labels_of(entry))

    # ── waiting ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def sleep(self, made: Workflow, entry: Mapping[str, Any], path: str) -> None:
        """Ids of sleeps are drawn anew in every build of a workflow: one is kept only where something refers to it."""
        id = entry.get("id")
        kept = id if isinstance(id, str) and self.text.count(json.dumps(id)[1:-1]) > 1 else None
        add: Callable[..., Any] = made.sleep if entry["type"] == "sleep" else made.sleep_until
        if "fn" in entry:
            value = self.function(f"{path}.fn", id, "a duration" if entry["type"] == "sleep" else "a date")
        elif entry["type"] == "sleep":
            value = self.duration(entry.get("duration"), f"{path}.duration")
        else:
            value = self.date(entry.get("date"), f"{path}.date")
        if value is not None:
            add(value, id=kept, **_labels_of(entry))

    def duration(self, value: Any, path: str) -> Any:
        if value is None:
            return 0
        if isinstance(value, int | float) and not isinstance(value, bool):
            return timedelta(milliseconds=max(0, value)) if value < 8.64e15 else value
        self.problem("bad_value", path, f"{value!r} is no number of milliseconds")
        return None

    def date(self, value: Any, path: str) -> Any:
        try:
            moment = datetime.fromisoformat(value)
        except (TypeError, ValueError):
            moment = None
        if moment is None or moment.tzinfo is None:
            self.problem("bad_value", path, f"{value!r} is no date with a time zone")
            return None
        return moment

    # ── maps ────────────────────────────────────────────────────────────────────────────────────────────────────────
    def mapping(self, made: Workflow, entry: Mapping[str, Any], path: str) -> None:
        id, config = entry.get("id"), entry.get("mapConfig")
        output: Any = None
        if isinstance(config, Mapping):
            output = self.fields(config, str(id), f"{path}.mapConfig")
        elif isinstance(config, str):
            try:
                fields = json.loads(config, parse_int=_number, parse_constant=_no_number)
            except ValueError:
                fields = None
            if isinstance(fields, dict):
                output = self.fields(fields, str(id), f"{path}.mapConfig")
            elif _is_cut(config) and not self.is_bound(f"{path}.mapConfig", id):
                message = (
                    f"the text was cut at {_CUT:,} characters, as graphs for display are; import the stored definition, or "
                    f"bind a function to it: functions={{{str(id)!r}: …}}"
                )
                self.problem("cut", f"{path}.mapConfig", message)
            else:
                output = self.function(f"{path}.mapConfig", id, "a map")
        else:
            self.problem("bad_graph", f"{path}.mapConfig", "the mapping has no mapConfig")
        if output is not None:
            made.map(output, id=id, **_labels_of(entry))

    def fields(self, config: Mapping[str, Any], id: str, path: str) -> dict[str, Any] | None:
        made = {key: self.field(one, f"{id}.{key}", f"{path}.{key}") for key, one in config.items()}
        return None if None in made.values() else made

    def field(self, given: Any, id: str, path: str) -> Any:
        entry = {key: one for key, one in given.items() if key != "schema"} if isinstance(given, Mapping) else {}
        if set(entry) == {"path"}:
            message = "the step of this path was lost, as it is in graphs for display; import the stored definition"
            self.problem("lost_step", path, message)
            return None
        if set(entry) not in _KINDS_OF_FIELDS:
            message = (
                "a field is one of value, template, requestContextPath, step with path, initData with path, or fn, not "
                f"{' + '.join(sorted(entry)) or 'nothing'}"
            )
            self.problem("bad_value", path, message)
            return None
        if "fn" in entry:
            return (function := self.function(f"{path}.fn", id, "a field of a map")) and {"fn": function}
        return {**entry, "initData": True} if "initData" in entry else entry

    # ── what stands for JavaScript ──────────────────────────────────────────────────────────────────────────────────
    def is_bound(self, path: str, id: Any) -> bool:
        return any(key in self.functions for key in _keys(path, id))

    def function(self, path: str, id: Any, what: str) -> Any:
        for key in _keys(path, id):
            if key in self.functions:
                self.bound.add(key)
                return self.functions[key]
        name = repr(id) if isinstance(id, str) and id else repr(path)
        message = f"this is the JavaScript source of {what}; give a Python function for it: functions={{{name}: …}}"
        self.problem("javascript", path, message)
        return None


def _keys(path: str, id: Any) -> Iterator[str]:
    yield path
    if isinstance(id, str):
        yield id


def _part(entry: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = entry.get(key)
    return part if isinstance(part, Mapping) else {}


def _at(items: Any, index: int) -> Any:
    return items[index] if isinstance(items, list) and index < len(items) else None


def _is_cut(text: str) -> bool:
    return len(text) >= _CUT and text.endswith(("...}", "...\n}", "…}"))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _labels_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Description and metadata, which older versions keep with the step."""
    step = _part(entry, "step")
    metadata = entry.get("metadata", step.get("metadata"))
    return {
        "description": _text(entry.get("description", step.get("description"))),
        "metadata": metadata if isinstance(metadata, Mapping) else None,
    }
