"""Workflows that use modules as modules. Lines that are refused are marked."""

from __future__ import annotations

from typing import Any

import codegen.shop_for_tests.errors
from codegen.shop_for_tests import compiled, flows, lazy, rules
from codegen.shop_for_tests.rules import Price

from cloche import step, workflow


@step
async def charge(cents: int) -> str:
    if cents > 100:
        raise codegen.shop_for_tests.errors.OutOfStock("too much")
    return f"paid {cents}"


@workflow
async def order(lines: list[int]) -> list[Any]:
    price = rules.total(lines)
    try:
        paid = await charge(price.cents)
    except rules.OutOfStock as error:
        paid = f"caught: {error}"
    same = codegen.shop_for_tests.errors.OutOfStock is rules.OutOfStock
    return [paid, isinstance(price, Price), isinstance(price, rules.Price), same]


@workflow
async def late(lines: list[int]) -> int:
    from codegen.shop_for_tests.rules import total

    return total(lines).cents


@workflow
async def paying(cents: int) -> str:
    return await flows.pay(cents)  # a module with a step


@workflow
async def versioned(input: Any) -> str:
    return compiled.VERSION  # a module that needs C


@workflow
async def lazily(input: Any) -> int:
    return lazy.RATE  # a module that, on some machines alone, imports what cannot be imported on others
