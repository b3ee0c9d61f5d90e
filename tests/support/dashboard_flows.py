"""Workflows whose runs stand in every way that a list of runs shows: an order desk, payments, reminders, reports."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel, Field

from cloche import StepContext, create_workflow, path, step
from cloche import workflow as native


class Order(BaseModel):
    order: str = Field(description="As the shop numbers it", examples=["A-1015"])
    customer: str
    country: Literal["PL", "DE", "NO"] = "PL"
    lines: list[str]
    unit_price: float = Field(default=89.0, ge=0)
    is_gift: bool = False


class Approval(BaseModel):
    approved: bool = Field(description="Ship on credit")
    note: str = Field(default="", description="Shown to the customer", max_length=200)


@step(id="parse")
async def parse(data: Order) -> Order:
    return data


@step(id="price-goods")
async def price_goods(data: Order) -> dict[str, float]:
    return {"goods": round(len(data.lines) * data.unit_price * 4, 2), "tax": 245.64}


@step(id="quote-shipping", retries=2)
async def quote_shipping(data: Order, ctx: StepContext) -> float:
    if ctx.attempt == 1:
        raise ConnectionError("carrier api.parcel.example: 503 Service Unavailable")
    return 14.9


@step(id="check-credit")
async def check_credit(data: Order) -> dict[str, float]:
    return {"limit": 1000, "open": 312.5, "score": 71}


@step(id="add-up")
async def add_up(data: dict[str, Any], ctx: StepContext) -> dict[str, Any]:
    price = data["price-goods"]
    total = round(price["goods"] + price["tax"] + data["quote-shipping"], 2)
    lines: Any = ctx.get_step_result(parse)
    return {"total": total, "credit": data["check-credit"], "lines": lines.lines}


@step(id="reserve")
async def reserve(line: str) -> dict[str, str]:
    return {"line": line, "shelf": f"B{len(line)}"}


@step(id="approve", resume_schema=Approval)
async def approve(data: list[Any], ctx: StepContext) -> dict[str, Any]:
    if ctx.resume_data is None:
        total = ctx.get_step_result(add_up)["total"]
        ctx.suspend({"question": f"Ship {total:,.2f} EUR on credit?", "total": total}, resume_label="credit")
    return {"approved": ctx.resume_data.approved, "by": "j.doe"}


@step(id="auto-approve")
async def auto_approve(data: list[Any]) -> dict[str, Any]:
    return {"approved": True, "by": "rule"}


@step(id="book-total")
async def book_total(data: dict[str, Any], ctx: StepContext) -> float:
    total: float = ctx.get_step_result(add_up)["total"]
    return total


fulfil = (
    create_workflow(id="fulfil", input_schema=Order, description="From an order to a booked invoice")
    .then(parse)
    .parallel([price_goods, quote_shipping, check_credit])
    .then(add_up)
    .map("inputData.lines", id="lines")
    .foreach(reserve, concurrency=2)
    .branch([(path("inputData.0.shelf") != "", approve), (path("inputData.0.shelf") == "", auto_approve)])
    .map("inputData['approve'] ?? inputData['auto-approve']", id="decided")
    .then(book_total)
    .commit()
)


@step(id="fetch")
async def fetch(data: dict[str, Any]) -> dict[str, Any]:
    return data


@step(id="import-rows")
async def import_rows(data: dict[str, Any]) -> str:
    if data.get("bad"):
        raise ValueError(data.get("message", "row 1,204 of stock.csv: quantity '12O' is no number"))
    return str(data["file"])


stock_sync = create_workflow(id="stock-sync").then(fetch).then(import_rows).commit()
payment = create_workflow(id="payment").then(fetch).wait_for_event("paid").commit()
dunning = create_workflow(id="dunning").then(fetch).sleep(timedelta(days=30)).then(import_rows).commit()


@step(id="gather")
async def gather(data: Any) -> Any:
    """Never ends."""
    await asyncio.Event().wait()


month_report = create_workflow(id="month-report").then(fetch).then(gather).commit()


@native(id="greet")
async def greet(name: str) -> str:
    return f"Hello {name}"


@step(id="echo")
async def echo(data: Any) -> Any:
    return data


@step(id="refuse")
async def refuse(data: Any) -> Any:
    raise RuntimeError(str(data))


hostile = create_workflow(id="<img src=x onerror=alert(1)>").then(echo).commit()
refusing = create_workflow(id="refusing").then(refuse).commit()
