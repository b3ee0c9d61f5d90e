
from cloche import create_workflow

workflow = create_workflow(id="waits").wait_for_event("never").commit()
