"""Prefect's ETL: tasks that are mapped over a list, retried, and given a connection; from a script without async."""

import csv
import io
from typing import Any

import cloche
from cloche import SyncCloche, gather, resource, step


class Warehouse:
    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []


@step(retries=3, timeout_s=30)
def extract(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(f"city,visits\n{name},{len(name)}\nTotal,{len(name) * 2}\n")))


def transform(rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    return [{**row, "visits": int(row["visits"])} for row in rows if row["city"] != "Total"]


@step
def load(rows: list[dict[str, Any]], warehouse: Warehouse = resource()) -> int:
    warehouse.rows.extend(rows)
    return len(warehouse.rows)


@cloche.workflow(id="etl")
async def etl(cities: list[str]) -> int:
    tables = await gather(*[extract(city) for city in cities], limit=2)
    return await load([row for table in tables for row in transform(table)])


if __name__ == "__main__":
    warehouse = Warehouse()
    with SyncCloche(workflows=[etl], resources={Warehouse: warehouse}) as app:
        print(app.start(etl, ["Oslo", "Rome", "Lima"], tags={"by": "cron"}).result(final=True).unwrap())
    print(warehouse.rows)
