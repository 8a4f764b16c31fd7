"""A stand-in for Resend's API that obeys its rules: keys, batches, refusals, limits, and answers that get lost.

`python -m tests.support.fake_resend --port 8025 --record mails.jsonl` runs it as a process of its own, which survives
those that talk to it.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from aiohttp import web

API_KEY = "re_test_key"

_MOST_IN_BATCH = 100
_MOST_RECIPIENTS = 50
_MOST_BYTES = 50_000_000
_REFUSED_DOMAINS = ("@example.com", "@test.com")


@dataclass(slots=True)
class _Known:
    """What a key was first used for, and what was answered."""

    digest: str
    answer: dict[str, Any]


@dataclass(slots=True)
class FakeResend:
    """`refusals`: answers for the next requests, (status, name, headers), with `words`. `drop`: take mails, answer nothing.
    `break_after_taking`: take mails, answer 500.

    `slow`: mails are taken when it opens; `hold_answer`: they are taken at once and answered when it opens. `per_second`:
    the team's limit, told in every answer. `daily_quota`: mails left. `refuse_examples`: 422 for example.com, as the
    real one. `on_mail` hears of every mail that is taken. `takes_at_most`: bytes of a request.
    """

    url: str = ""
    mails: list[dict[str, Any]] = field(default_factory=list)
    requests: int = 0
    batches: list[int] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    refused_for_rate: int = 0
    refusals: list[tuple[int, str, dict[str, str]]] = field(default_factory=list)
    words: str = "no"
    drop: bool = False
    break_after_taking: bool = False
    answer: bytes | None = None
    slow: asyncio.Event | None = None
    hold_answer: asyncio.Event | None = None
    per_second: int | None = None
    daily_quota: int | None = None
    refuse_examples: bool = False
    takes_at_most: int = _MOST_BYTES
    api_keys: tuple[str, ...] = (API_KEY,)
    on_mail: Callable[[str, dict[str, Any]], None] | None = None
    _known: dict[str, _Known] = field(default_factory=dict)
    _running: set[str] = field(default_factory=set)
    _recent: deque[float] = field(default_factory=deque)

    def refuse_next(self, status: int, name: str, **headers: str) -> None:
        self.refusals.append((status, name, headers))

    async def send(self, request: web.Request) -> web.Response:
        return await self._respond(request, is_batch=False)

    async def send_batch(self, request: web.Request) -> web.Response:
        return await self._respond(request, is_batch=True)

    async def _respond(self, request: web.Request, *, is_batch: bool) -> web.Response:
        self.requests += 1
        body = await request.read()
        refusal = self._refusal(request, body)
        response = refusal if refusal is not None else await self._take(request, body, is_batch=is_batch)
        if self.per_second is not None:
            left = max(0, self.per_second - len(self._recent))
            response.headers["ratelimit-limit"] = str(self.per_second)
            response.headers["ratelimit-remaining"] = str(left)
            response.headers["ratelimit-reset"] = "1"
            response.headers["ratelimit-policy"] = f"{self.per_second};w=1"
        return response

    def _refusal(self, request: web.Request, body: bytes) -> web.Response | None:
        """What concerns the request and none of its mails."""
        if not request.headers.get("User-Agent"):
            return _fault(403, "invalid_access")
        authorization = request.headers.get("Authorization", "")
        if not authorization.startswith("Bearer "):
            return _fault(401, "missing_api_key")
        if authorization.removeprefix("Bearer ") not in self.api_keys:
            return _fault(403, "invalid_api_key")
        if self.refusals:
            return _fault(*self.refusals.pop(0), message=self.words)
        if self._is_over_the_limit():
            self.refused_for_rate += 1
            return _fault(429, "rate_limit_exceeded", {"retry-after": "1"})
        key = request.headers.get("Idempotency-Key")
        if key is not None and not 1 <= len(key) <= 256:
            return _fault(400, "invalid_idempotency_key")
        if len(body) > self.takes_at_most:
            return _fault(413, "validation_error", message="too large")
        return None

    def _is_over_the_limit(self) -> bool:
        if self.per_second is None:
            return False
        now = time.monotonic()
        while self._recent and self._recent[0] <= now - 1:
            self._recent.popleft()
        if len(self._recent) >= self.per_second:
            return True
        self._recent.append(now)
        return False

    async def _take(self, request: web.Request, body: bytes, *, is_batch: bool) -> web.Response:
        key = request.headers.get("Idempotency-Key")
        digest = hashlib.sha256(request.path.encode() + body).hexdigest()
        if key is not None:
            if key in self._running:
                return _fault(409, "concurrent_idempotent_requests")
            if key in self._known and self._known[key].digest != digest:
                return _fault(409, "invalid_idempotent_request")
        name = key or str(uuid4())
        self._running.add(name)
        try:
            if self.slow is not None:
                await self.slow.wait()
            if name not in self._known:
                answer = self._accept(name, json.loads(body), request, is_batch=is_batch)
                if isinstance(answer, web.Response):
                    return answer
                self._known[name] = _Known(digest=digest, answer=answer)
        finally:
            self._running.discard(name)
        return await self._answer(request, self._known[name].answer)

    def _accept(
        self, key: str, document: Any, request: web.Request, *, is_batch: bool
    ) -> dict[str, Any] | web.Response:
        mails = document if is_batch else [document]
        if not isinstance(mails, list) or not 1 <= len(mails) <= _MOST_IN_BATCH:
            return _fault(422, "validation_error", message="1 to 100 mails")
        faults = [
            (index, fault) for index, mail in enumerate(mails) if (fault := self._fault_of(mail, is_batch))
        ]
        permissive = is_batch and request.headers.get("x-batch-validation") == "permissive"
        if faults and not permissive:
            return _fault(422, "validation_error", message=faults[0][1])
        refused = {index for index, _ in faults}
        good = [mail for index, mail in enumerate(mails) if index not in refused]
        if self.daily_quota is not None:
            if self.daily_quota < len(good):
                return _fault(429, "daily_quota_exceeded")
            self.daily_quota -= len(good)
        ids = [str(uuid4()) for _ in good]
        self.keys.append(key)
        for mail in good:
            self.mails.append(mail)
            if self.on_mail is not None:
                self.on_mail(key, mail)
        if not is_batch:
            return {"id": ids[0]}
        self.batches.append(len(good))
        answer: dict[str, Any] = {"data": [{"id": each} for each in ids]}
        if permissive:
            answer["errors"] = [{"index": index, "message": fault} for index, fault in faults]
        return answer

    def _fault_of(self, mail: Any, is_batch: bool) -> str | None:
        if not isinstance(mail, dict):
            return "not an object"
        if missing := {"from", "to", "subject"} - mail.keys():
            return f"Missing {sorted(missing)}."
        to = mail["to"] if isinstance(mail["to"], list) else [mail["to"]]
        if not 1 <= len(to) <= _MOST_RECIPIENTS:
            return "1 to 50 recipients"
        if is_batch and ("attachments" in mail or "scheduled_at" in mail):
            return "not in a batch"
        if not all(isinstance(value, str) for value in mail.get("headers", {}).values()):
            return "headers are strings"
        if self.refuse_examples and any(address.endswith(_REFUSED_DOMAINS) for address in to):
            return "Invalid `to` field. Please use our testing email address instead of domains like `example.com`."
        return None

    async def _answer(self, request: web.Request, document: dict[str, Any]) -> web.Response:
        if self.hold_answer is not None:
            await self.hold_answer.wait()
        if self.drop and request.transport is not None:
            request.transport.abort()
        if self.break_after_taking:
            return _fault(500, "application_error")
        if self.answer is not None:
            return web.Response(body=self.answer)
        return web.json_response(document)

    def app(self) -> web.Application:
        app = web.Application(client_max_size=2 * _MOST_BYTES)
        app.router.add_post("/emails", self.send)
        app.router.add_post("/emails/batch", self.send_batch)
        return app


def _fault(
    status: int, name: str, headers: dict[str, str] | None = None, *, message: str = "no"
) -> web.Response:
    body = {"statusCode": status, "name": name, "message": message}
    return web.json_response(body, status=status, headers=headers)


@asynccontextmanager
async def fake_resend(*, port: int = 0) -> AsyncIterator[FakeResend]:
    fake = FakeResend()
    runner = web.AppRunner(fake.app(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    host, bound = runner.addresses[0][:2]
    fake.url = f"http://{host}:{bound}"
    try:
        yield fake
    finally:
        await runner.cleanup()


async def _serve(options: argparse.Namespace) -> None:
    async with fake_resend(port=options.port) as fake:
        fake.per_second = options.per_second
        fake.refuse_examples = options.refuse_examples
        with options.record.open("a", encoding="utf-8") as record:

            def note(key: str, mail: dict[str, Any]) -> None:
                record.write(json.dumps({"key": key, "mail": mail}) + "\n")
                record.flush()

            fake.on_mail = note
            print(fake.url, flush=True)  # noqa: T201  whoever started it waits for this line
            await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for Resend's API.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--record", type=Path, required=True, help="every mail that was taken, one a line")
    parser.add_argument("--per-second", type=int, help="requests, as the team's limit")
    parser.add_argument("--refuse-examples", action="store_true", help="422 for example.com")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
