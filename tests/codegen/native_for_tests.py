"""A native workflow as an author writes it."""

from __future__ import annotations

from typing import Any

import cloche
from cloche import gather, sleep
from cloche import step as to_step

RATE = {"fee": 2}


@to_step(id="create-account")
def create_account(user: Any) -> Any:
    return {"id": 1, "addresses": []}


@to_step
def send_mail(address: str) -> str:
    return address


@cloche.workflow(id="onboard")
async def onboard(user: dict[str, Any]) -> dict[str, Any]:
    """Take somebody in.

    Slowly.
    """
    account = await create_account(user)
    mails = await gather(*[send_mail(a) for a in wanted(account["addresses"])], limit=5)
    await sleep(days=3)
    fee = await charged(account)
    return {"account": account["id"], "mails": len(mails), "fee": fee, "at": cloche.now().year}


def wanted(addresses: list[str]) -> list[str]:
    if any("@" not in address for address in addresses):
        raise ValueError("an address without an @")
    return sorted(addresses)


async def charged(account: Any) -> int:
    count = 0
    for address in numbered(account["addresses"]):
        count += address[0]
    return count * RATE["fee"]


def numbered(addresses: list[str]) -> Any:
    for index, address in enumerate(addresses, 1):
        yield index, address.upper()
