"""What the programs' steps do here: in Python, by the names of the functions."""

from __future__ import annotations

import asyncio
from typing import Any

from cloche import FatalError, RetryableError, StepContext


# onboarding
def createUser(mail: str) -> dict[str, str]:
    return {"id": "u-1", "mail": mail}


def sendWelcome(user: dict[str, str]) -> str:
    return f"welcome {user['mail']}"


def sendCheckIn(user: dict[str, str]) -> str:
    return f"how is it, {user['mail']}?"


# agent
def think(messages: list[dict[str, str]], stream: Any) -> dict[str, Any]:
    last = messages[-1]
    if last["role"] == "user":
        return {"text": "look", "tool": {"name": "weather", "args": ["Bern"]}}
    if last["content"].startswith("sunny"):
        return {"text": "count", "tool": {"name": "add", "args": [40, 2]}}
    return {"text": f"it is {last['content']}"}


def weather(place: str) -> str:
    return f"sunny in {place}"


def add(a: int, b: int) -> int:
    return a + b


# approval, chat
def ask(document: str, token: str) -> None:
    assert token == f"approve:{document}"


def publish(document: str) -> str:
    return f"published {document}"


def answer(text: str) -> str:
    return text.upper()


# saga
def reserve(id: str) -> str:
    return f"hold-{id}"


def release(hold: str) -> None:
    assert hold.startswith("hold-")


def charge(order: dict[str, Any]) -> None:
    assert order["amount"] > 0


def refund(id: str) -> None:
    pass


def ship(id: str) -> None:
    if id == "far":
        raise FatalError(f"cannot ship {id}")


# batching, closures, classes
def square(n: int) -> int:
    if n == 3:
        raise ValueError("not three")
    return n * n


class Cart:
    @staticmethod
    def pay(amount: int) -> str:
        return f"paid {amount}"


# values
def remember(value: Any) -> Any:
    return value


def large(n: int) -> str:
    return str(n)


# points
def moved(point: dict[str, int], by: int) -> dict[str, int]:
    return {"x": point["x"] + by, "y": point["y"]}


# retries
def flaky(times: int, ctx: StepContext) -> int:
    if ctx.attempt < times:
        raise RetryableError("again", retry_after=0.01)
    return ctx.attempt


def hopeless() -> None:
    raise FatalError("there is no way")


def never() -> None:
    raise FatalError("no")


# racing, children, webhook
def download(mirror: str) -> str:
    if mirror == "a":
        raise FatalError("a is down")
    return f"from {mirror}"


async def forever() -> None:
    await asyncio.Event().wait()


def double(n: int) -> int:
    return 2 * n


def tell(order: str, url: str) -> None:
    assert url.startswith("/v1/hooks/")
