"""Blocks that have enough before all their arms have ended, at the top and inside a nested workflow."""

from codegen.steps_for_tests import free

from cloche_codegen import create_workflow, path

inner = (
    create_workflow(id="inner")
    .parallel([free("x"), free("y")], first_success=True)
    .branch([(path("inputData.x").exists(), free("seen"))])
    .choose([(True, free("one"))])
    .choose([("inputData.one > 1", free("two"))], otherwise=free("other"))
    .map(path("initData.list"))
    .foreach(free("each"), min_successes=2, concurrency=4)
    .commit()
)
workflow = (
    create_workflow(id="policies")
    .parallel([free("a"), free("b"), free("c")], min_successes=2, tolerated_failures=1, limit=2, id="some")
    .parallel([free("d"), free("e")], tolerated_failures=0, id="strict")
    .then(inner)
    .foreach(free("item"), tolerated_failures=3, id="most")
    .commit()
)
