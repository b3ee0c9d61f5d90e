"""Temporal's first tutorial: money goes from one account to another, and back where it cannot arrive."""

import asyncio
from dataclasses import dataclass

import cloche
from cloche import Cloche, FatalError, RetryConfig, StepContext, step

PATIENT = RetryConfig(attempts=3, delay_s=0.01, factor=2, delay_s_max=60)


@dataclass
class Transfer:
    source: str
    target: str
    amount: int
    reference: str


class InvalidAccount(FatalError):
    pass


@step(retry_config=PATIENT)
async def withdraw(data: Transfer) -> str:
    return f"withdrew {data.amount} from {data.source}"


@step(retry_config=PATIENT)
async def deposit(data: Transfer, ctx: StepContext) -> str:
    if data.target == "nobody":
        raise InvalidAccount(f"there is no account {data.target}")
    if ctx.attempt == 1:
        raise ConnectionError("the bank does not answer")
    return f"deposited {data.amount} on {data.target} in attempt {ctx.attempt}"


@step(retry_config=PATIENT)
async def refund(data: Transfer) -> str:
    return f"refunded {data.amount} to {data.source}"


@cloche.workflow(id="money-transfer")
async def money_transfer(data: Transfer) -> str:
    withdrawn = await withdraw(data)
    try:
        deposited = await deposit(data)
    except InvalidAccount as error:
        return f"{withdrawn}; {error}; {await refund(data)}"
    return f"{withdrawn}; {deposited}"


async def main() -> None:
    async with Cloche(workflows=[money_transfer]) as app:
        for target in ("ann", "nobody"):
            run = await app.start(money_transfer, Transfer("ben", target, 250, "r-1"), run_id=f"transfer-{target}")
            print((await run.result(final=True)).unwrap())


asyncio.run(main())
