"""The first arm that holds, with and without a last resort."""

from codegen.steps_for_tests import free

from cloche_codegen import create_workflow, path

nested = create_workflow(id="rest").then(free("inner")).commit()
workflow = (
    create_workflow(id="choose")
    .choose([(path("inputData.v") < 33, free("low")), ("inputData.v < 66", free("mid"))], otherwise=nested)
    .choose([({"exists": {"path": "stepResults.low"}}, free("only"))], id="second")
    .commit()
)
