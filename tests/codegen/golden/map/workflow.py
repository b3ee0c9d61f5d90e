"""Every way to write a field of a map, and the whole of one."""

from codegen.steps_for_tests import free

from cloche_codegen import code, create_workflow, path

inc = free("inc")
workflow = (
    create_workflow(id="map")
    .then(inc)
    .map(
        {
            "value": {"value": {"a": [1, 2.5, None, "x"], "__proto__": True}},
            "none": None,
            "big": {"value": 2**70},
            "template": {
                "template": "x=${inputData.v} i=${initData.v} s=${stepResults.inc.v} st=${state.k} rc=${requestContext.u}"
            },
            "step": {"step": inc, "path": "a.b"},
            "first": {"step": ["inc"], "path": ""},
            "init": {"init_data": True, "path": "v"},
            "initData": {"initData": True, "path": "."},
            "context": {"requestContextPath": "user"},
            "path": path("inputData.items.0.name"),
            "test": path("inputData.v") > 3,
            "coded": code("inputData.v * 2"),
            "fn": {"fn": "({ v: inputData.v })"},
        },
        id="shaped",
        description="all of them",
    )
    .map(path("inputData.step"))
    .map(code("[inputData, initData]"))
    .map({})
    .commit()
)
