"""Looks that never overlap themselves: two at once would act on answers of which one is older than what the other has done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class OneAtATime:
    """Does `look` whenever it is called, one after the other.

    Whoever calls while one is under way gets one that begins afterwards, shared by all who call meanwhile. Raises as `look`.
    """

    def __init__(self, look: Callable[[], Awaitable[None]]) -> None:
        self._look = look
        self._under_way = asyncio.Lock()
        self._asked = 0  # calls
        self._answered = 0  # the last one of them that a whole look has followed

    async def __call__(self) -> None:
        self._asked += 1
        number = self._asked
        async with self._under_way:
            if self._answered < number:
                answered = self._asked
                await self._look()
                self._answered = answered
