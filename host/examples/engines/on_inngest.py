"""The same workflow as a function of Inngest: `hypercorn on_inngest:app`, and a server of Inngest that knows this address.

The event `cloche/order.start` with the data {"input": {"items": 2}, "run_id": "order-17"} starts a run; `cloche/message` with
{"run": "order-17", "to": "event/paid", "payload": {"amount": 50}} is its payment.
"""

import fastapi
import inngest
import inngest.fast_api
from flow import workflow

from cloche.foreign.inngest import InngestExecutionEngine

client = inngest.Inngest(app_id="orders", is_production=False)
app = fastapi.FastAPI()
inngest.fast_api.serve(app, client, InngestExecutionEngine(client, [workflow]).functions)
