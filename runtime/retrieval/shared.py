"""Results that several tasks want: made once, held as long as there is room."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable, Sequence
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class Shared(Generic[Item]):
    """Sequences by key.  At most `room` items are held, those of the keys last asked for, and what
    was made last whatever its length."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._held = 0
        self._made: OrderedDict[Hashable, asyncio.Future[Sequence[Item]]] = OrderedDict()

    async def get(
        self, key: Hashable, make: Callable[[], Coroutine[Any, Any, Sequence[Item]]]
    ) -> Sequence[Item]:
        """What is held under a key, else what `make` gives; a fault is everybody's who waits."""
        future = self._made.get(key)
        if future is None or future.cancelled():
            future = self._made[key] = asyncio.ensure_future(self._make(key, make))
        self._made.move_to_end(key)
        # Of another loop only what is done is left; one asker's cancellation is not the others'.
        return future.result() if future.done() else await asyncio.shield(future)

    async def _make(
        self, key: Hashable, make: Callable[[], Coroutine[Any, Any, Sequence[Item]]]
    ) -> Sequence[Item]:
        try:
            items = await make()
        except BaseException:
            self._made.pop(key, None)
            raise
        self._held += len(items)
        while self._held > self._room:
            oldest = next((other for other, future in self._made.items() if future.done()), None)
            if oldest is None:
                break
            self._held -= len(self._made.pop(oldest).result())
        return items

    async def clear(self) -> None:
        """Forgets everything, and gives up what is being made."""
        futures = list(self._made.values())
        self._made.clear()
        self._held = 0
        for future in futures:
            future.cancel()
        await asyncio.gather(*futures, return_exceptions=True)
