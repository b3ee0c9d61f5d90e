"""The same workflow as a service of Restate: `python on_restate.py`, then

restate-server                                                          # or a server that runs
curl 127.0.0.1:9070/deployments --json '{"uri": "http://127.0.0.1:9080"}'
curl 127.0.0.1:8080/order/order-17/run --json '{"input": {"items": 2}}' &
curl 127.0.0.1:8080/order/order-17/event --json '{"name": "paid", "payload": {"amount": 50}}'
"""

import asyncio
import os

import restate
from flow import workflow
from hypercorn.asyncio import serve
from hypercorn.config import Config

from cloche.foreign.restate import RestateExecutionEngine

app = restate.app(RestateExecutionEngine([workflow]).services)

if __name__ == "__main__":
    config = Config()
    config.bind = [f"127.0.0.1:{os.environ.get('PORT', '9080')}"]
    asyncio.run(serve(app, config))
