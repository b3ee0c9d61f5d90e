"""A nested workflow holds what it is entered with against its input schema, unless it validates no inputs."""

from codegen.steps_for_tests import free

from cloche_codegen import clone_step, create_workflow, path

SCHEMA = {"type": "object", "properties": {"k": {"type": "integer", "default": 1}}}
inc = free("inc")
typed = create_workflow(id="typed", input_schema=SCHEMA).then(inc).map({"k": path("initData.k")}).commit()
trusting = create_workflow(id="trusting", input_schema=SCHEMA, validate_inputs=False).then(inc).commit()
workflow = (
    create_workflow(id="entry", input_schema=SCHEMA)
    .then(typed)
    .then(trusting)
    .then(clone_step(inc, id="inc2"))
    .commit()
)
