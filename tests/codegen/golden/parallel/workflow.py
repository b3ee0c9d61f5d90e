"""Arms at once: plain, limited, settled; results of arms are looked up afterwards."""

from codegen.steps_for_tests import free

from cloche_codegen import create_workflow, path

a, b, c, d, e = (free(id) for id in "abcde")
workflow = (
    create_workflow(id="parallel")
    .parallel([a, b], id="first", description="both")
    .parallel([c, d, e], limit=2, settle=True)
    .map({"a": {"step": a, "path": "v"}, "c": {"step": "c", "path": "v"}, "any": {"step": ["d", e], "path": "."}})
    .branch([(path("stepResults.d").exists(), free("f"))])
    .commit()
)
