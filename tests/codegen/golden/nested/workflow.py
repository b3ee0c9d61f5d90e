"""Workflows in workflows: calls carry their path, state and context reach inwards, definitions stand once."""

from codegen.steps_for_tests import free

from cloche_codegen import clone_step, clone_workflow, create_workflow, path

inc = free("inc")
inner = create_workflow(id="inner", description="the innermost").then(inc).map({"k": path("state.k")}).commit()
outer = (
    create_workflow(id="outer")
    .then(inner)
    .parallel([clone_step(inc, id="inc2"), free("b")])
    .sleep(1)
    .then(inc)
    .commit()
)
workflow = (
    create_workflow(id="nested")
    .then(outer)
    .then(clone_workflow(inner, id="inner2"))
    .branch([(path("requestContext.go"), clone_workflow(outer, id="outer2"))])
    .then(inner, id="inner-again")
    .commit()
)
