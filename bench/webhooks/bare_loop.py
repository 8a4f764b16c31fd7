"""The same POST again and again with nothing behind it: `python -m bench.webhooks.bare_loop CLIENT URL FILE COUNT CONCURRENCY`.

CLIENT is `aiohttp` (one session, kept connections) or `ours` (the dispatcher's own), both on uvloop. FILE holds a request as the
dispatcher sent it. Prints POSTs per second and CPU microseconds per POST.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiohttp
import uvloop

from bench.webhooks.sample import Sample, read_sample
from mailement_webhook_dispatcher.http.exchange import Limits
from mailement_webhook_dispatcher.request import Request
from mailement_webhook_dispatcher.sender import Sender
from mailement_webhooks.rules.guard import Guard, parse_networks

Post = Callable[[], Awaitable[None]]


@asynccontextmanager
async def by_aiohttp(url: str, sample: Sample, at_once: int) -> AsyncIterator[Post]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=at_once)) as session:

        async def post() -> None:
            async with session.post(url, data=sample.body, headers=sample.headers) as response:
                await response.read()
                assert response.status == 200

        yield post


@asynccontextmanager
async def by_ours(url: str, sample: Sample, _at_once: int) -> AsyncIterator[Post]:
    request = Request(url=url, headers=sample.headers, body=sample.body)
    limits = Limits(connect_seconds=3, total_seconds=5)
    async with Sender(Guard(allow=parse_networks("127.0.0.0/8"))) as sender:

        async def post() -> None:
            exchange = await sender.post(request, limits=limits, reuse=True)
            assert exchange.answer is not None
            assert exchange.answer.status == 200

        yield post


CLIENTS: dict[str, Callable[[str, Sample, int], AbstractAsyncContextManager[Post]]] = {
    "aiohttp": by_aiohttp,
    "ours": by_ours,
}


async def measure(client: str, url: str, sample: Sample, count: int, at_once: int) -> dict[str, float]:
    left = iter(range(count))
    async with CLIENTS[client](url, sample, at_once) as post:
        started, cpu_started = time.perf_counter(), time.process_time()
        await asyncio.gather(*(_post_on(post, left) for _ in range(at_once)))
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    return {"per_second": count / seconds, "cpu_us": cpu_seconds / count * 1e6}


async def _post_on(post: Post, left: Iterator[int]) -> None:
    for _ in left:
        await post()


if __name__ == "__main__":
    name, target, file, *numbers = sys.argv[1:]
    figures = uvloop.run(measure(name, target, read_sample(Path(file)), int(numbers[0]), int(numbers[1])))
    print(json.dumps(figures))
