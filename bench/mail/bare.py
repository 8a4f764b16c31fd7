"""The same bytes again and again with nothing behind them: `python -m bench.mail.bare KIND PORT FILE COUNT AT_ONCE`.

`smtp`: aiosmtplib, AT_ONCE kept connections. `resend`: aiohttp, batches of 100 whose body is FILE, AT_ONCE at a time. Both on
uvloop. Prints mails per second and CPU microseconds per mail.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import aiosmtplib
import uvloop

_BATCH = 100


async def by_smtp(port: int, content: bytes, left: Iterator[int]) -> None:
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, local_hostname="bench", start_tls=False)
    await client.connect()
    for _ in left:
        await client.sendmail("news@bench.example", ["reader@bench.example"], content)
    await client.quit()


async def by_resend(session: aiohttp.ClientSession, port: int, body: bytes, left: Iterator[int]) -> None:
    headers = {"Content-Type": "application/json", "Authorization": "Bearer re_bench", "User-Agent": "bench"}
    while len([number for number, _ in zip(range(_BATCH), left, strict=False)]) == _BATCH:
        url = f"http://127.0.0.1:{port}/emails/batch"
        async with session.post(url, data=body, headers=headers) as response:
            await response.read()
            assert response.status == 200


async def measure(kind: str, port: int, content: bytes, count: int, at_once: int) -> dict[str, float]:
    left = iter(range(count))
    started, cpu_started = time.perf_counter(), time.process_time()
    if kind == "smtp":
        await asyncio.gather(*(by_smtp(port, content, left) for _ in range(at_once)))
    else:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=at_once)) as session:
            await asyncio.gather(*(by_resend(session, port, content, left) for _ in range(at_once)))
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    return {"per_second": count / seconds, "cpu_us": cpu_seconds / count * 1e6}


if __name__ == "__main__":
    kind, port, file, count, at_once = sys.argv[1:]
    found = uvloop.run(measure(kind, int(port), Path(file).read_bytes(), int(count), int(at_once)))
    print(json.dumps(found))
