from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from mailement_mailer.batcher import Batcher


class Doubling:
    """Doubles numbers, one batch at a time."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    async def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        await asyncio.sleep(0.001)
        return [2 * number for number in numbers]


async def test_whoever_comes_while_a_batch_is_under_way_joins_the_next() -> None:
    doubling = Doubling()
    batcher = Batcher(doubling)
    assert await asyncio.gather(*(batcher(number) for number in range(5))) == [0, 2, 4, 6, 8]
    assert doubling.batches == [[0, 1, 2, 3, 4]]


async def test_in_a_stream_of_batches_others_are_waited_for() -> None:
    doubling = Doubling()
    batcher = Batcher(doubling, linger=0.2)

    async def late(number: int) -> int:
        await asyncio.sleep(0.01 * number)
        return await batcher(number)

    await batcher(100)
    await asyncio.gather(*(late(number) for number in range(5)))
    assert len(doubling.batches) == 2


async def test_what_a_batch_raises_is_raised_for_each_of_it() -> None:
    async def broken(_: Sequence[int]) -> list[int]:
        raise ValueError("no")

    batcher = Batcher(broken)
    found = await asyncio.gather(batcher(1), batcher(2), return_exceptions=True)
    assert [type(each) for each in found] == [ValueError, ValueError]


async def test_whoever_waits_when_it_is_closed_is_cancelled() -> None:
    never = asyncio.Event()

    async def hang(_: Sequence[int]) -> list[int]:
        await never.wait()
        return []

    batcher = Batcher(hang)
    waiting = asyncio.create_task(batcher(1))
    await asyncio.sleep(0)
    await batcher.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
