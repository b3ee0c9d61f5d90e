"""The orders workflow of `make demo`: parse, price in parallel, branch on the amount, write an invoice, book the total."""

import asyncio
import csv
import io
import os
import sqlite3
from datetime import date
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel

from cloche import StepContext, create_workflow, path, step

OUT = Path(os.environ.get("CLOCHE_DEMO_OUT", "demo-out"))
VAT = {"DE": "0.19", "FR": "0.20", "NL": "0.21", "AT": "0.20", "PL": "0.23"}
COLUMNS = ("order", "customer", "country", "item", "quantity", "unit_price")


class Line(BaseModel):
    """One line of orders.csv, as text."""

    text: str


class Order(BaseModel):
    order: str
    customer: str
    country: str
    item: str
    quantity: int
    unit_price: Decimal


class Bill(BaseModel):
    order: Order
    goods: Decimal
    tax: Decimal
    shipping: Decimal
    total: float


async def work(ctx: StepContext) -> None:
    """Leave a mark that this step began (the demo counts them), and take as long as a call of a service would."""
    with (OUT / "began.txt").open("a") as marks:
        marks.write(f"{ctx.run_id} {ctx.path}\n")
    await asyncio.sleep(3600 if held(ctx) else 0.02)


def held(ctx: StepContext) -> bool:
    """Whether this is the one step, half way, that reports itself and waits for the kill: so the kill always hits one."""
    report = OUT / "held.txt"
    if "CLOCHE_DEMO_HOLD" not in os.environ or report.exists() or ctx.path != "add-up":
        return False
    if len(list((OUT / "invoices").glob("*.txt"))) < 12:
        return False
    part = report.with_suffix(".part")
    part.write_text(f"{ctx.run_id} {ctx.path}\n")
    part.rename(report)  # whole or not at all: the demo reads it at any moment
    return True


@step(id="parse")
async def parse(data: Line, ctx: StepContext) -> Order:
    await work(ctx)
    return Order.model_validate(dict(zip(COLUMNS, next(csv.reader(io.StringIO(data.text))), strict=True)))


@step(id="price-goods")
async def price_goods(data: Order, ctx: StepContext) -> dict[str, Decimal]:
    await work(ctx)
    goods = data.quantity * data.unit_price
    return {"goods": goods, "tax": (goods * Decimal(VAT.get(data.country, "0"))).quantize(Decimal("0.01"))}


@step(id="quote-shipping", retries=2)
async def quote_shipping(data: Order, ctx: StepContext) -> Decimal:
    await work(ctx)
    if ctx.attempt == 1 and data.country == "US":
        raise ConnectionError("the carrier's service did not answer")  # the retry is recorded and survives a crash
    return Decimal("4.90") if data.country in VAT else Decimal("49.00")


@step(id="add-up")
async def add_up(data: dict[str, object], ctx: StepContext) -> Bill:
    await work(ctx)
    order, priced = ctx.get_step_result(parse), ctx.get_step_result(price_goods)
    goods, tax, shipping = priced["goods"], priced["tax"], ctx.get_step_result(quote_shipping)
    return Bill(order=order, goods=goods, tax=tax, shipping=shipping, total=float(goods + tax + shipping))


@step(id="give-discount")
async def give_discount(data: Bill, ctx: StepContext) -> Bill:
    await work(ctx)
    return data.model_copy(update={"total": round(data.total * 0.97, 2)})


@step(id="keep-price")
async def keep_price(data: Bill, ctx: StepContext) -> Bill:
    await work(ctx)
    return data


@step(id="write-invoice")
async def write_invoice(data: Bill, ctx: StepContext) -> str:
    """A file, written whole or not at all: done twice it is the same file."""
    await work(ctx)
    order = data.order
    file = OUT / "invoices" / f"{order.order}.txt"
    lines = [f"Invoice {order.order}", order.customer, f"{order.quantity} x {order.item}: {data.goods}"]
    lines += [f"VAT: {data.tax}", f"Shipping: {data.shipping}", f"Total: {data.total:.2f} EUR"]
    part = file.with_suffix(".part")
    part.write_text("\n".join(lines) + "\n")
    part.rename(file)
    return file.name


@step(id="book-total")
def book_total(data: str, ctx: StepContext) -> float:
    """A row in a real database; the idempotency key makes a second attempt harmless. A plain function: it runs in a thread."""
    bill = ctx.get_step_result(give_discount) or ctx.get_step_result(keep_price)
    with (OUT / "began.txt").open("a") as marks:
        marks.write(f"{ctx.run_id} {ctx.path}\n")
    books = sqlite3.connect(OUT / "books.db", timeout=30)
    try:
        with books:
            books.execute(
                "CREATE TABLE IF NOT EXISTS totals (key TEXT PRIMARY KEY, invoice TEXT, total REAL, day TEXT)"
            )
            row = (ctx.idempotency_key, data, bill.total, date.today().isoformat())
            books.execute("INSERT INTO totals VALUES (?, ?, ?, ?) ON CONFLICT (key) DO NOTHING", row)
    finally:
        books.close()
    return float(bill.total)


orders = (
    create_workflow(
        id="orders", input_schema=Line, output_schema=float, description="From a line of CSV to a booked invoice"
    )
    .then(parse)
    .parallel([price_goods, quote_shipping])
    .then(add_up)
    .branch([(path("inputData.total") > 1000, give_discount), (path("inputData.total") <= 1000, keep_price)])
    .map("inputData['give-discount'] ?? inputData['keep-price']", id="chosen")
    .then(write_invoice)
    .then(book_total)
    .commit()
)
