import asyncio
import logging
import time
from typing import Any

from pydantic import BaseModel

import cloche
from cloche import (
    Cloche,
    Grant,
    Policy,
    StepContext,
    create_workflow,
    gather,
    sleep,
    start_child,
    step,
    wait_for_event,
    workflow,
)


class Order(BaseModel):
    id: str
    amount: int = 1


@step
async def charge(order: Order) -> str:
    return order.id
