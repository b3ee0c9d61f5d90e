"""What an operator names as TARGET: a workflow of the id that the runs of the situations are of."""

from __future__ import annotations

from cloche import create_workflow

w = create_workflow(id="w").wait_for_event("paid").commit()
inner = create_workflow(id="inner").wait_for_event("paid").commit()
