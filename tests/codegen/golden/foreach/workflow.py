"""Items one by one, in a window, as many as the input says; a workflow per item; failures collected."""

from codegen.steps_for_tests import free

from cloche_codegen import create_workflow, path

per_item = create_workflow(id="per-item").then(free("inc")).foreach(free("deep"), concurrency=3).commit()
workflow = (
    create_workflow(id="foreach")
    .foreach(free("plain"))
    .foreach(free("window"), concurrency=50.9, description="fifty at once")
    .foreach(per_item, concurrency=path("initData.width"))
    .foreach(free("collected"), concurrency="inputData.length", on_error="collect")
    .foreach(free("nan"), concurrency=float("nan"))
    .foreach(free("all"), concurrency=float("inf"))
    .commit()
)
