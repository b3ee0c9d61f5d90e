"""Everything `commit()` and `load_workflow` refuse, with the whole message."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from codegen.steps_for_tests import free
from pydantic import BaseModel, Field

from cloche_codegen import (
    Graph,
    GraphError,
    NotCommitted,
    UnknownReference,
    Workflow,
    clone_step,
    clone_workflow,
    code,
    create_workflow,
    load_workflow,
    path,
)


def new() -> Workflow:
    return create_workflow(id="w")


def refused(build: Callable[[], Any]) -> str:
    with pytest.raises(GraphError) as caught:
        build()
    return str(caught.value)


def problems(workflow: Workflow) -> list[str]:
    with pytest.raises(GraphError) as caught:
        workflow.commit()
    headline, *rest = str(caught.value).split("\n  ")
    count = len(caught.value.problems)
    assert headline == f"workflow 'w' cannot be committed: {'1 problem' if count == 1 else f'{count} problems'}"
    assert rest == [str(problem) for problem in caught.value.problems]
    return rest


def test_every_problem_is_told_at_once_in_the_order_of_the_graph() -> None:
    a = free("a")
    broken = new().then(a).then(a).parallel([]).map({"x": {"step": "zzz"}, "y": {"template": "${ a }"}})
    assert problems(broken) == [
        "w/a: the id 'a' is taken by w/a; use clone_step, clone_workflow or id= to give another [duplicate_id]",
        "w/parallel_1: the parallel has no arms; give it at least one step [empty_block]",
        "w/mapping_w_1.x: no step 'zzz' precedes this node; there is 'a', 'parallel_1' [unknown_reference]",
        "w/mapping_w_1.y: placeholder '${ a }' is padded; write '${a}' [bad_template]",
    ]


def test_an_empty_graph() -> None:
    assert problems(new()) == ["w: the workflow has no nodes; add at least one, for example .then(step) [empty_graph]"]


@pytest.mark.parametrize("id", ["a/b", "a#2", "a[1]"])
def test_ids_that_would_be_misread_in_a_path(id: str) -> None:
    (message,) = problems(new().then(free(id)))
    assert (
        message
        == f"w/{id}: the id {id!r} contains {id[1]!r}; / # [ ] build call paths and are not allowed in ids [bad_id]"
    )


UNSEEN = ["a\nb", "a\u2028", "a\u202e", "a\u200b", "\ufeffa", "a\x9b", "\ud800", "e\u0301", " a", "x" * 201, ""]


@pytest.mark.parametrize("id", UNSEEN)
def test_names_that_do_not_show_what_they_are(id: str) -> None:
    """Of nodes, of steps, and of events."""
    assert all(message.endswith("[bad_id]") for message in problems(new().then(free("a"), id=id)))
    found = problems(new().then(free(id), id="fine"))
    assert found[0].startswith("w: the id")
    assert all(message.endswith("[bad_id]") for message in found)


def test_ids_that_are_empty_or_long() -> None:
    assert problems(new().then(free("a"), id=" a")) == ["w/ a: the id ' a' is empty or padded with spaces [bad_id]"]
    (message,) = problems(new().then(free("a"), id="x" * 201))
    assert message.endswith("has 201 characters; at most 200 are allowed [bad_id]")


def test_a_result_can_be_used_only_after_its_step() -> None:
    late = new().branch([(path("stepResults.b.x") > 1, free("a"))]).then(free("b"))
    assert problems(late) == [
        "w/branch_1/a: step 'b' does not precede this node, so its result cannot be used here [not_preceding]"
    ]
    own = new().branch([("true", free("a")), (path("stepResults.a").exists(), free("b"))])
    assert problems(own) == [
        "w/branch_1/b: step 'a' does not precede this node, so its result cannot be used here [not_preceding]"
    ]
    assert new().dountil(free("a"), path("stepResults.a.done") == 1).commit().committed


def test_a_misspelled_reference_gets_a_suggestion() -> None:
    (message,) = problems(new().then(free("reserve")).map(path("stepResults.resreve.id")))
    assert message == "w/mapping_w_1: no step 'resreve' precedes this node; did you mean 'reserve'? [unknown_reference]"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("foo.x", "path 'foo.x' begins at 'foo'; use one of inputData, initData, state, requestContext, stepResults, "
         "iterationCount"),
        ("inputData..x", "path 'inputData..x' has an empty key"),
        ("inputData.", "path 'inputData.' has an empty key"),
        ("stepResults", "path 'stepResults' needs the id of a step: 'stepResults.<id>'"),
        ("iterationCount", "path 'iterationCount': iterationCount is a number that only the condition of a loop has"),
    ],
)  # fmt: skip
def test_paths_begin_somewhere(text: str, why: str) -> None:
    assert problems(new().map(path(text))) == [f"w/mapping_w_1: {why} [bad_path]"]


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("${ inputData.x }", "placeholder '${ inputData.x }' is padded; write '${inputData.x}'"),
        ("${foo.x}", "placeholder '${foo.x}' has an unknown scope; use one of inputData, initData, state, "
         "requestContext, stepResults"),
        ("${stepResults}", "placeholder '${stepResults}' needs the id of a step: '${stepResults.<id>}'"),
        ("${requestContext}", "placeholder '${requestContext}' needs a key: '${requestContext.<key>}'"),
        ("a ${inputData.x", "placeholder '${inputData.x' is never closed"),
        ("${inputData..x}", "placeholder '${inputData..x}' has an empty key"),
    ],
)  # fmt: skip
def test_templates_are_checked_while_building(template: str, why: str) -> None:
    assert problems(new().map({"a": {"template": template}})) == [f"w/mapping_w_1.a: {why} [bad_template]"]


def test_code_that_is_no_expression() -> None:
    assert problems(new().branch_with_code([("1); evil(", free("a"))])) == [
        "w/branch_1/a: the code string is not one JavaScript expression: line 1, column 2: ')' closes nothing [bad_code]"
    ]


def test_values_that_cannot_be_stored() -> None:
    broken = new().map({"a": "text", "b": {"value": float("nan")}, "c": {"step": "a", "template": "x"}, "d": object()})
    found = problems(broken.sleep(float("inf")).sleep_until(datetime(2026, 1, 1)))
    assert [re.sub(r"0x\w+", "…", one) for one in found] == [
        'w/mapping_w_1.a: a plain text says too little here; write {"value": …}, {"template": …}, path(\'text\') or '
        "code('text') [ambiguous_text]",
        "w/mapping_w_1.b: value.float: Input should be a finite number [bad_value]",
        "w/mapping_w_1.c: a field is one of value, template, step + path, init_data + path, request_context_path, path or "
        "fn, not step + template [bad_value]",
        "w/mapping_w_1.d: map: object cannot be stored in a graph [bad_value]",
        "w/sleep_1: a sleep of inf seconds has no end that can be written down [bad_value]",
        "w/sleep_until_1: 2026-01-01T00:00:00 has no time zone; write datetime(..., tzinfo=timezone.utc) or .astimezone() "
        "[naive_datetime]",
    ]


def test_half_a_character_cannot_be_stored() -> None:
    (message,) = problems(new().map({"a": {"value": "\ud800"}}))
    assert message.endswith("a text may hold half of a character (a lone surrogate) [bad_text]")


def test_short_conditions_and_unknown_predicates() -> None:
    assert problems(new().branch([({"field": "x", "operator": ">"}, free("a")), ({"grt": {}}, free("b"))])) == [
        'w/branch_1/a: a short condition is {"field": text, "op": text, "value": literal} [bad_condition]',
        "w/branch_1/b: predicate: A predicate is an object of one key out of eq, ne, lt, lte, gt, gte, in, notIn, exists, "
        "notExists, truthy, falsy, and, or, not, patched [bad_value]",
    ]


def test_a_predicate_too_deep_to_walk() -> None:
    deep: dict[str, Any] = {"exists": {"path": "inputData"}}
    for _ in range(70):
        deep = {"not": {"arg": deep}}
    assert problems(new().branch([(deep, free("a"))])) == [
        "w/branch_1/a: the predicate is nested deeper than 64; split it or use a code string [predicate_too_deep]"
    ]


class A(BaseModel):
    x: int
    name: str = "n"


class B(BaseModel):
    y: int


class AsText(BaseModel):
    x: list[str]


class Aliased(BaseModel):
    x: int = Field(alias="ex")


def test_schemas_that_provably_do_not_fit() -> None:
    a, b, t = free("a", A, A), free("b", B, B), free("t", AsText, AsText)
    assert problems(new().then(a).then(b)) == [
        "w/b: what 'a' gives does not fit the input of 'b': .y is required and never given; put a map before 'b' or change "
        "one of the schemas [schema_misfit]"
    ]
    assert problems(new().then(a).then(t)) == [
        "w/t: what 'a' gives does not fit the input of 't': .x is integer, not array; put a map before 't' or change one "
        "of the schemas [schema_misfit]"
    ]
    assert problems(create_workflow(id="w", input_schema=B).then(a)) == [
        "w/a: the input of the workflow does not fit the input of 'a': .x is required and never given; put a map before "
        "'a' or change one of the schemas [schema_misfit]"
    ]
    assert problems(create_workflow(id="w", output_schema=B).then(a)) == [
        "w: what 'a' gives does not fit the output schema of the workflow: .y is required and never given; change the last "
        "step or the schema [schema_misfit]"
    ]
    assert problems(new().dountil(free("loop", A, B), True)) == [
        "w/dountil_1/loop: what 'loop' gives, its own next input, does not fit the input of 'loop': .x is required and "
        "never given; put a map before 'loop' or change one of the schemas [schema_misfit]"
    ]


@pytest.mark.parametrize(
    ("gives", "takes"),
    [
        (A, A), (A, None), (None, A), (A, dict[str, Any]), (dict[str, Any], A), (int, float), (float, int), (str, int),
        (int | None, int), (list[A], list[A]), (A, Aliased), (Aliased, A), (int, datetime), (dict[str, int], B),
        (tuple[int, ...], list[int]), (set[str], list[str]), (A | B, B), (B, A | B), (Any, B),
    ],
)  # fmt: skip
def test_what_may_fit_passes(gives: Any, takes: Any) -> None:
    assert new().then(free("a", None, gives)).then(free("b", takes, None)).commit().committed


@pytest.mark.parametrize(
    ("gives", "takes"),
    [(int, str), (A | B, list[int]), (list[int], A), (list[A], list[B]), (None | int, str), (bytes, A)],
)
def test_what_cannot_fit_does_not(gives: Any, takes: Any) -> None:
    (message,) = problems(new().then(free("a", None, gives)).then(free("b", takes, None)))
    assert message.endswith("[schema_misfit]")


def test_foreach_needs_a_list() -> None:
    assert problems(new().then(free("a", None, A)).foreach(free("b"))) == [
        "w/foreach_1: foreach needs a list, and what 'a' gives is none: the value is object, not array [not_a_list]"
    ]
    assert problems(new().then(free("a", None, list[A])).foreach(free("b", B))) == [
        "w/foreach_1/b: an item of what 'a' gives does not fit the input of 'b': .y is required and never given; put a map "
        "before 'b' or change one of the schemas [schema_misfit]"
    ]


def test_blocks_give_objects_of_their_arms() -> None:
    arms = [free("p", None, int), free("q", None, A)]

    class Wrong(BaseModel):
        r: int

    class Right(BaseModel):
        p: int

    assert new().parallel(arms).then(free("c", Right)).commit().committed
    (message,) = problems(new().parallel(arms).then(free("c", Wrong)))
    assert ".r is required and never given" in message


def test_one_id_has_one_meaning() -> None:
    one, other = free("a"), free("a")
    inner = create_workflow(id="inner").then(other).commit()
    assert problems(new().then(one).then(inner)) == [
        "w/a: two different steps have the id 'a'; use clone_step to give one another id [two_definitions]"
    ]
    assert new().then(one).then(clone_step(one, id="b")).commit().committed
    again = create_workflow(id="inner").then(one).commit()
    assert problems(new().then(inner).then(again, id="x")) == [
        "w/inner: two different workflows have the id 'inner'; use clone_workflow to give one another id [two_definitions]",
        "w/a: two different steps have the id 'a'; use clone_step to give one another id [two_definitions]",
    ]
    named = create_workflow(id="w").then(one).commit()
    assert problems(new().then(named)) == [
        "w: a nested workflow has the id of the one it is in, 'w'; give one of them another id [duplicate_id]"
    ]
    assert new().then(inner).then(clone_workflow(inner, id="inner2")).commit().committed


def test_wrong_use_is_refused_where_it_stands() -> None:
    w = new()
    assert refused(lambda: w.then(print)) == (  # type: ignore[arg-type]
        "w: then takes a step or workflow, not builtin_function_or_method; make it a step with @step or create_step"
    )
    assert refused(lambda: w.branch([free("a")])).startswith("w/branch_1: branch takes pairs (condition, step), not")  # type: ignore[list-item]
    assert refused(lambda: new().then(new().then(free("a")))) == (
        "w/w: then: workflow 'w' is used before it is committed; end it with .commit()"
    )
    with pytest.raises(NotCommitted, match=r"^w: the workflow is not committed; end it with \.commit\(\)$"):
        _ = w.graph
    done = new().then(free("a")).commit()
    assert done.commit() is done
    assert refused(lambda: done.then(free("b"))) == "w: the workflow is committed and cannot change; clone_workflow it"


def test_a_stored_graph_is_checked_like_a_built_one() -> None:
    data = json.loads(new().then(free("a")).commit().graph.to_json())
    data["nodes"].append({"type": "step", "id": "b", "step": "nowhere"})
    data["nodes"].append({"type": "workflow", "id": "V", "workflow": "V"})
    data["workflows"]["V"] = {"id": "V", "nodes": [{"type": "workflow", "id": "V", "workflow": "V"}]}
    assert refused(lambda: load_workflow(json.dumps(data), {"a": free("a")})) == (
        "graph 'w' cannot be loaded: 2 problems\n"
        "  V: workflow 'V' is nested in itself [workflow_cycle]\n"
        "  w/b: the graph has no step 'nowhere'; there is 'a' [unknown_reference]"
    )


def test_the_functions_of_all_steps_are_needed() -> None:
    graph = new().then(free("a")).then(free("b")).commit().graph
    with pytest.raises(UnknownReference, match=r"^w: no function is given for 'a', 'b'; pass them in steps=$"):
        load_workflow(graph, [])


def test_what_is_no_graph_is_told_by_the_path_in_the_json() -> None:
    predicate = {"gt": {"left": {"path": 1}, "right": {"literal": 1}}}
    text = json.dumps(
        {
            "id": "x",
            "nodes": [
                {"type": "step", "id": "a"},
                {"type": "zzz"},
                {
                    "type": "branch",
                    "id": "b",
                    "arms": [
                        {
                            "condition": {"type": "predicate", "predicate": predicate},
                            "body": {"type": "step", "id": "q", "step": 3},
                        }
                    ],
                },
            ],
            "more": 1,
        }
    )  # fmt: skip
    with pytest.raises(GraphError) as caught:
        Graph.from_json(text)
    assert [problem.path for problem in caught.value.problems] == [
        "nodes.0.step",
        "nodes.1",
        "nodes.2.arms.0.condition.predicate.gt.left.path",
        "nodes.2.arms.0.body.step",
        "more",
    ]
    for broken in ("[", "3", b"\xff", '{"id": "x"}', ""):
        with pytest.raises(GraphError):
            Graph.from_json(broken)
    assert refused(lambda: Graph.from_json('{"format": 2, "id": "x", "nodes": []}')) == (
        "this is not a graph that can be loaded: 1 problem\n"
        "  format: format 2 is not known here, 1 is; update cloche, or export the graph again [unknown_format]"
    )


def test_loops_see_how_often_and_code_may_be_marked() -> None:
    assert new().dowhile(free("a"), path("iterationCount") < 3).sleep(code("1")).commit().committed


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda w: w.parallel([free("a")], settle=True, min_successes=1),
         "settle=True keeps every failure as a result; it cannot be used with min_successes or tolerated_failures"),
        (lambda w: w.foreach(free("a"), on_error="collect", tolerated_failures=1),
         'on_error="collect" keeps every failure as a result; it cannot be used with min_successes or tolerated_failures'),
        (lambda w: w.parallel([free("a")], min_successes=2), "min_successes=2 cannot hold among 1 arms; lower one of them"),
        (lambda w: w.parallel([free("a"), free("b")], first_success=True, tolerated_failures=2),
         "min_successes=1 and tolerated_failures=2 cannot hold among 2 arms; lower one of them"),
        (lambda w: w.parallel([free("a"), free("b")], first_success=True, min_successes=2),
         "first_success is min_successes=1, and 2 was given; use one of the two"),
    ],
)  # fmt: skip
def test_policies_that_contradict_each_other(build: Any, message: str) -> None:
    with pytest.raises(GraphError) as caught:
        build(new()).commit()
    assert [(problem.code, problem.message) for problem in caught.value.problems] == [("bad_policy", message)]


def test_policies_are_numbers_from_one_or_zero() -> None:
    for policy in ({"min_successes": 0}, {"tolerated_failures": -1}):
        assert refused(lambda policy=policy: new().parallel([free("a")], **policy).commit())  # type: ignore[misc]
    assert new().parallel([free("a")], tolerated_failures=1).commit().committed
    assert new().foreach(free("b"), first_success=True, tolerated_failures=9).commit().committed


@pytest.mark.parametrize("name", ["", " x", "x" * 201, "a\nb", "\u202e", "a\u200b", "e\u0301"])
def test_event_names_can_be_seen(name: str) -> None:
    with pytest.raises(GraphError) as caught:
        new().wait_for_event(name).commit()
    assert caught.value.code == "bad_event"


def test_events_keep_their_schemas_here_and_in_the_graph() -> None:
    inner = create_workflow(id="inner").wait_for_event("e", schema=int, timeout=3).commit()
    workflow = new().wait_for_event("f", schema=list[int]).then(inner).wait_for_event("e", schema=int).commit()
    assert workflow.event_schemas == {"f": list[int], "e": int}
    adapter = workflow.event_adapter("f")
    assert adapter is not None
    assert adapter.validate_python(["1"]) == [1]
    assert workflow.event_adapter("other") is None
    loaded = load_workflow(workflow.graph.to_json(), [])
    assert loaded.event_schemas == {"f": {"type": "array", "items": {"type": "integer"}}, "e": {"type": "integer"}}
    with pytest.raises(GraphError, match=r"the event 'e' is waited for with two different schemas"):
        new().then(inner).wait_for_event("e", schema=str).commit()
    with pytest.raises(GraphError, match=r"foreach needs a list, and what 'wait_for_event_1' gives is none"):
        new().wait_for_event("e", schema=int).foreach(free("a")).commit()


def test_callbacks_are_functions_beside_the_graph() -> None:
    workflow = create_workflow(id="w", on_start=print, on_error=print).then(free("a")).commit()
    assert (workflow.on_start, workflow.on_finish, workflow.on_error) == (print, None, print)
    assert "on_start" not in workflow.graph.to_json()
    with pytest.raises(GraphError, match=r"^w: on_finish is a function, not int$"):
        create_workflow(id="w", on_finish=3)
