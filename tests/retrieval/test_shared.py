"""Results made once for all who ask."""

from __future__ import annotations

import asyncio

import pytest

from synth.runtime.retrieval.shared import Shared
from tests.retrieval.helpers import run


def test_who_asks_at_once_shares_one_result() -> None:
    made: list[str] = []

    async def go() -> None:
        shared: Shared[int] = Shared(10)

        async def make() -> list[int]:
            made.append("a")
            await asyncio.sleep(0)
            return [1, 2, 3]

        assert await asyncio.gather(*(shared.get("a", make) for _ in range(5))) == [[1, 2, 3]] * 5
        assert await shared.get("a", make) == [1, 2, 3]
        await shared.clear()
        await shared.get("a", make)

    run(go())
    assert made == ["a", "a"]


def test_the_longest_unasked_go_first_and_the_latest_is_held_whatever_its_size() -> None:
    made: list[str] = []

    async def go() -> None:
        shared: Shared[int] = Shared(4)

        async def ask(name: str, size: int) -> None:
            async def make() -> list[int]:
                made.append(name)
                return [0] * size

            assert await shared.get(name, make) == [0] * size

        sizes = {"a": 2, "b": 2, "c": 2, "d": 9}
        for name in "abacabddad":
            await ask(name, sizes[name])

    run(go())
    assert made == list("abcbdad")


def test_a_fault_is_not_held() -> None:
    async def go() -> None:
        shared: Shared[int] = Shared(4)
        tries: list[int] = []

        async def make() -> list[int]:
            tries.append(1)
            if len(tries) == 1:
                raise ValueError("once")
            return [1]

        first = await asyncio.gather(*(shared.get("a", make) for _ in range(3)), return_exceptions=True)
        assert [type(fault) for fault in first] == [ValueError] * 3
        assert await shared.get("a", make) == [1]
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(_cancelled(shared), 5)

    run(go())


async def _cancelled(shared: Shared[int]) -> None:
    async def never() -> list[int]:
        await asyncio.Event().wait()
        return []

    waiting = asyncio.ensure_future(shared.get("b", never))
    await asyncio.sleep(0)
    await shared.clear()
    await waiting
