"""Both loops, over a step and over a workflow, with every name a loop's condition has."""

from codegen.steps_for_tests import free

from cloche_codegen import create_workflow, path

body = create_workflow(id="body").then(free("inc")).dowhile(free("dbl"), path("inputData.v") < 10).commit()
workflow = (
    create_workflow(id="loops")
    .dountil(free("one"), (path("inputData.v") >= 12) | (path("iterationCount") >= 100), description="count up")
    .do_while(body, "iterationCount < 3 && stepResults.body.v < stepResults.one.v")
    .do_until(free("two"), path("stepResults.two.done") == True, id="until-done")  # noqa: E712
    .commit()
)
