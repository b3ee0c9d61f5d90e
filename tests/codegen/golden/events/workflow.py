"""Events from outside: for ever, with a timeout written down or computed, inside a nested workflow."""

from datetime import timedelta

from codegen.steps_for_tests import free
from pydantic import BaseModel

from cloche_codegen import create_workflow, path


class Approval(BaseModel):
    by: str
    granted: bool


inner = (
    create_workflow(id="inner").wait_for_event("signed", timeout=path("inputData.patience"), id="signature").commit()
)
workflow = (
    create_workflow(id="events")
    .then(free("ask"))
    .wait_for_event("approval", schema=Approval, id="approved", description="somebody has to agree")
    .wait_for_event("payment", timeout=timedelta(days=2))
    .wait_for_event('quote"/[3]', timeout="inputData.seconds")
    .parallel([inner, free("remind")])
    .map({"by": {"step": "approved", "path": "by"}})
    .commit()
)
