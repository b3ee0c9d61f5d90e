"""Two steps at once, a map, and the first arm whose condition holds."""

from typing import Any

from cloche import Cloche, create_workflow, path, step


@step(id="goods")
def goods(order: dict[str, Any]) -> float:  # a plain function: it runs in a thread
    return float(sum(line["price"] * line["count"] for line in order["lines"]))


@step(id="shipping")
async def shipping(order: dict[str, Any]) -> float:
    return 4.9 if order["country"] == "DE" else 19.0


@step(id="discount")
async def discount(bill: dict[str, Any]) -> str:
    return f"{bill['goods'] * 0.9 + bill['shipping']:.2f} EUR after discount"


@step(id="full-price")
async def full_price(bill: dict[str, Any]) -> str:
    return f"{bill['goods'] + bill['shipping']:.2f} EUR"


workflow = (
    create_workflow(id="invoice")
    .parallel([goods, shipping])
    .choose([(path("inputData.goods") > 100, discount)], otherwise=full_price)
    .map("inputData.discount ?? inputData['full-price']")
    .commit()
)

if __name__ == "__main__":
    for count in (1, 3):
        order = {"country": "DE", "lines": [{"price": 60, "count": count}]}
        print(Cloche.run_sync(workflow, order).unwrap())
