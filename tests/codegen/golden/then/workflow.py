"""Steps with ids of their own, a description, and names that must not collide."""

from codegen.steps_for_tests import free

from cloche_codegen import create_workflow

inc = free("inc")
workflow = (
    create_workflow(id="then", description="One step,\nthree times", metadata={"owner": "tests", "note": None})
    .then(inc, description="as it is", metadata={"x": 1})
    .then(inc, id="inc-again")
    .then(inc, id="inc again")
    .then(free("größe"))
    .commit()
)
