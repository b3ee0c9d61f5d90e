"""What flows between nodes, as far as the schemas tell: finds values that can provably never fit.

Three-valued: where a schema is absent or says too little, nothing is claimed. The schema of a block is made from those
of its arms; what a map computes is known only where it is written down.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from cloche_codegen import graph as g
from cloche_codegen.errors import Problem
from cloche_codegen.returned import schema_of_function, schema_of_value
from cloche_codegen.schemas import JsonSchema, Pairs, items_of, misfit, never_a_list


def misfits(graph: g.Graph) -> Iterator[Problem]:
    """Every place of a graph's workflows where what flows in can provably not be taken."""
    pairs = Pairs()
    for definition in graph.definitions().values():
        yield from _Flow(graph, definition, pairs).problems()


class _Flow:
    def __init__(self, graph: g.Graph, definition: g.Definition, pairs: Pairs) -> None:
        self.graph = graph
        self.definition = definition
        self.pairs = pairs

    def problems(self) -> Iterator[Problem]:
        flowing, source = self.definition.input_schema, "the input of the workflow"
        for node in self.definition.nodes:
            yield from self._into(node, flowing, source)
            flowing, source = self._out_of(node, flowing), f"what {node.id!r} gives"
        if reason := misfit(flowing, self.definition.output_schema, self.pairs):
            yield Problem(
                "schema_misfit",
                self.definition.id,
                f"{source} does not fit the output schema of the workflow: {reason}; change the last step or the schema",
            )

    def _into(self, node: g.Node, flowing: JsonSchema | None, source: str) -> Iterator[Problem]:
        path = f"{self.definition.id}/{node.id}"
        if isinstance(node, g.ForeachNode):
            if reason := never_a_list(flowing, self.pairs):
                yield Problem("not_a_list", path, f"foreach needs a list, and {source} is none: {reason}")
                return
            flowing, source = items_of(flowing), f"an item of {source}"
        for body in g.bodies_of(node):
            place = path if body is node else f"{path}/{body.id}"
            if reason := misfit(flowing, self._takes(body), self.pairs):
                yield self._misfit(place, source, body.id, reason)
            elif reason := self._undone(node):
                yield Problem(
                    "schema_misfit",
                    place,
                    f"what {node.id!r} gives does not fit the input of the step that compensates for it: {reason}",
                )
            elif isinstance(node, g.LoopNode) and (reason := misfit(self._gives(body), self._takes(body), self.pairs)):
                yield self._misfit(place, f"what {body.id!r} gives, its own next input,", body.id, reason)

    def _undone(self, node: g.Node) -> str | None:
        """Why what a node gives can never be taken by the step that undoes it."""
        undo = getattr(node, "compensate", None)
        step = self.graph.steps.get(undo) if undo is not None else None
        if step is None or not isinstance(node, g.StepNode | g.WorkflowNode):
            return None
        return misfit(self._gives(node), step.input_schema, self.pairs)

    @staticmethod
    def _misfit(place: str, source: str, id: str, reason: str) -> Problem:
        advice = f"put a map before {id!r} or change one of the schemas"
        return Problem("schema_misfit", place, f"{source} does not fit the input of {id!r}: {reason}; {advice}")

    def _takes(self, body: g.StepNode | g.WorkflowNode) -> JsonSchema | None:
        return self._schemas(body)[0]

    def _gives(self, body: g.StepNode | g.WorkflowNode) -> JsonSchema | None:
        return self._schemas(body)[1]

    def _schemas(self, body: g.StepNode | g.WorkflowNode) -> tuple[JsonSchema | None, JsonSchema | None]:
        if isinstance(body, g.StepNode):
            step = self.graph.steps.get(body.step)
            return (step.input_schema, step.output_schema) if step else (None, None)
        workflow = self.graph.workflows.get(body.workflow)
        return (workflow.input_schema, workflow.output_schema) if workflow else (None, None)

    def _out_of(self, node: g.Node, flowing: JsonSchema | None) -> JsonSchema | None:
        match node:
            case g.StepNode() | g.WorkflowNode():
                return self._gives(node)
            case g.MapNode():
                return _schema_of(node.value)
            case g.SleepNode() | g.SleepUntilNode():
                return flowing
            case g.WaitForEventNode():
                return node.payload_schema
            case g.ParallelNode() | g.BranchNode() | g.ChooseNode():
                settled = isinstance(node, g.ParallelNode) and node.settle
                return self._keyed(g.bodies_of(node), settled)
            case g.LoopNode():
                return self._gives(node.body)
            case g.ForeachNode():
                items = {} if node.on_error == "collect" else self._gives(node.body) or {}
                return _whole({"type": "array", "items": items}, items)
            case _:
                assert_never(node)

    def _keyed(self, arms: tuple[g.StepNode | g.WorkflowNode, ...], settled: bool) -> JsonSchema:
        """An object of exactly the arms. Definitions of different arms could clash, so arms with some stay unknown."""
        fields: dict[str, JsonSchema] = {}
        for arm in arms:
            schema = {"type": "object"} if settled else self._gives(arm) or {}
            fields[arm.id] = {} if "$defs" in schema else schema
        return {"type": "object", "properties": fields, "additionalProperties": False}


def _schema_of(value: g.Value) -> JsonSchema | None:
    match value:
        case g.ObjectValue():
            fields = {key: _schema_of(one) or {} for key, one in value.fields.items()}
            return {"type": "object", "properties": fields, "additionalProperties": False}
        case g.TemplateValue():
            return {"type": "string"}
        case g.PredicateTest():
            return {"type": "boolean"}
        case g.LiteralValue():
            return schema_of_value(value.value)
        case g.FunctionText():
            return schema_of_function(value.source, value.name)
        case _:
            return None


def _whole(schema: JsonSchema, inner: JsonSchema) -> JsonSchema:
    """`schema` with the definitions that `inner`, placed inside it, refers to."""
    return {**schema, "$defs": inner["$defs"]} if "$defs" in inner else schema
