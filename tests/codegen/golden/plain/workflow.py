"""Every kind of node without a code string, so that it becomes Python as well; at the top and inside a nested workflow."""

from datetime import UTC, datetime, timedelta

from codegen.steps_for_tests import free

from cloche_codegen import clone_workflow, create_workflow, path

COUNT = {"left": {"path": "iterationCount"}, "right": {"literal": 3}}
inner = (
    create_workflow(id="inner")
    .branch(
        [(path("inputData.go").exists(), free("go")), ({"not": {"arg": {"exists": {"path": "state.k"}}}}, free("k"))]
    )
    .choose([(path("inputData.v") < 33, free("low"))])
    .wait_for_event("signed", timeout=path("initData.patience"))
    .commit()
)
workflow = (
    create_workflow(id="lambda", description="a name Python keeps for itself")
    .then(free("class"), description='quotes """ and \\ and\nlines # coding: latin-1')
    .parallel([free("a"), inner, free("b")], limit=2, settle=True, id="both")
    .map(
        {
            "a": {"step": "a", "path": "v"},
            "any": {"step": ["b", "inner"]},
            "text": {"template": "x=${inputData.a.output} '${initData.name}' ${requestContext.user}"},
            "in": path("initData.kind").in_(["a", 1, None, True]),
            "data": {"value": {"none": None, "true": True, "n": [1, -0.5, 1.0, 2**70], "é\u2028\U0001f600": "\u202e"}},
        }
    )
    .choose([(path("inputData.in") == True, free("one"))], otherwise=free("other"))  # noqa: E712
    .dountil(free("turn"), {"or": {"args": [{"gte": COUNT}, {"truthy": {"value": {"path": "inputData.done"}}}]}})
    .dowhile(clone_workflow(inner, id="again-and-again"), {"lt": COUNT})
    .map(path("initData.list"))
    .foreach(free("item"), concurrency=path("initData.width"), on_error="collect")
    .map(path("initData.list"), id="again")
    .foreach(clone_workflow(inner, id="each"), concurrency=4, min_successes=2, id="some")
    .sleep(1.5)
    .sleep(path("initData.delay"))
    .sleep_until(datetime(2030, 1, 2, 3, 4, 5, 678000, UTC))
    .sleep_until(path("initData.due"))
    .wait_for_event("approval")
    .wait_for_event("paid", timeout=timedelta(days=2))
    .parallel([free("x"), free("y")], first_success=True)
    .commit()
)
