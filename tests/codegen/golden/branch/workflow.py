"""Conditions in every form."""

from codegen.steps_for_tests import free
from pydantic import BaseModel

from cloche_codegen import code, create_workflow, path, refs


class Order(BaseModel):
    amount: float
    country: str
    tags: list[str] = []


wf = refs(Order, init=Order)
workflow = (
    create_workflow(id="branch")
    .then(free("first"))
    .branch(
        [
            (wf.input.amount > 80, free("greater")),
            ((wf.init.amount >= 1.5) & (wf.init.country != "DE") | ~wf.init.tags["length"].in_([0, 1]), free("joined")),
            (path("stepResults.first.list").not_exists() & path("inputData.b").in_(path("state.set")), free("looked")),
            (
                {
                    "and": {
                        "args": [
                            {"truthy": {"value": {"path": "${inputData.x}"}}},
                            {"not": {"arg": {"falsy": {"value": {"literal": 0}}}}},
                        ]
                    }
                },
                free("data"),
            ),
            (
                {"predicate": {"notIn": {"value": {"path": "inputData.x"}, "set": [1, "a", True, None, 2**60]}}},
                free("wrapped"),
            ),
            ({"field": "score", "op": "<=", "value": -0.5}, free("short")),
            ({"field": "state.on", "op": "exists"}, free("short-root")),
            (True, free("always")),
            (False, free("never")),
            (code("stepResults.first.n + getInitData().n > 3 // enough"), free("coded")),
        ],
        description="every form",
    )
    .branch_with_code(
        [
            ("inputData.always.n > 80", free("high")),
            ("stepResults[inputData.id] === getStepResult('first')", free("any")),
        ]
    )
    .commit()
)
