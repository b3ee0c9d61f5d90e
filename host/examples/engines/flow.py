"""One workflow for four engines: an order is checked and priced side by side, then waits for its payment."""

from typing import Any

from cloche import create_workflow, step


@step(id="reserve", retries=3)
async def reserve(order: dict[str, Any]) -> int:
    return int(order["items"])


@step(id="price")
def price(order: dict[str, Any]) -> int:
    return int(order["items"]) * 25


@step(id="receipt")
def receipt(paid: dict[str, Any]) -> str:
    return f"paid {paid['amount']} EUR"


workflow = create_workflow(id="order").parallel([reserve, price]).wait_for_event("paid").then(receipt).commit()
