"""The walk: sign up → signed webhook → welcome mail → unsubscribe → signed webhook, with a timeline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any, Final

import aiohttp
import click

from mailement_cli.demo.receiver import Received
from mailement_cli.session import Fault

_READER: Final = "reader@example.com"
_SECONDS: Final = 20


@dataclass(slots=True)
class Seen:
    """What has arrived so far, with the moments of its arrival."""

    webhooks: dict[str, tuple[float, Received]] = field(default_factory=dict)
    mails: list[tuple[float, EmailMessage]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def on_webhook(self, received: Received) -> None:
        self.webhooks[received.event] = (time.perf_counter(), received)
        self.changed.set()

    def on_mail(self, mail: EmailMessage) -> None:
        self.mails.append((time.perf_counter(), mail))
        self.changed.set()


@dataclass(slots=True)
class Timeline:
    """Prints what happened and how many milliseconds after the sign-up."""

    began: float = field(default_factory=time.perf_counter)

    def line(self, moment: float, text: str) -> None:
        click.echo(f"{(moment - self.began) * 1000:9.1f} ms  {text}")


async def walk(api_url: str, key: str, seen: Seen) -> None:
    """Raises Fault with what is missing, or what is not as the document says."""
    async with aiohttp.ClientSession(
        api_url, headers={"Authorization": f"Bearer {key}"}, timeout=aiohttp.ClientTimeout(total=_SECONDS)
    ) as client:
        timeline = Timeline()
        timeline.line(timeline.began, "POST /api/v1/subscribe")
        answer = await _post(client, "/api/v1/subscribe", {"email": _READER, "first_name": "Maria"})
        timeline.line(time.perf_counter(), f"200 {answer}")
        _require(
            answer.get("ok") is True and answer.get("status") == "confirmed", f"unexpected answer: {answer}"
        )
        subscriber = answer["subscriber_id"]
        await _await_signup(seen, timeline, subscriber)
        left = time.perf_counter()
        timeline.line(left, "POST /api/v1/subscribers/unsubscribe")
        answer = await _post(client, "/api/v1/subscribers/unsubscribe", {"email": _READER})
        timeline.line(time.perf_counter(), f"200 {answer}")
        _require(answer == {"success": True, "subscriber_id": subscriber}, f"unexpected answer: {answer}")
        await _await_webhook(seen, timeline, "subscriber.unsubscribed", subscriber)


async def _await_signup(seen: Seen, timeline: Timeline, subscriber: int) -> None:
    await _until(seen, lambda: "subscriber.confirmed" in seen.webhooks and bool(seen.mails))
    missing = [
        name
        for name, there in (
            ("the webhook subscriber.confirmed", "subscriber.confirmed" in seen.webhooks),
            ("the welcome mail", bool(seen.mails)),
        )
        if not there
    ]
    _require(not missing, f"not there after {_SECONDS} s: {' and '.join(missing)}")
    arrived, mail = seen.mails[0]
    events: list[tuple[float, str]] = [
        (arrived, f"mail to {mail['To']}: {mail['Subject']}"),
        (seen.webhooks["subscriber.confirmed"][0], _describe(seen, "subscriber.confirmed", subscriber)),
    ]
    for moment, text in sorted(events):
        timeline.line(moment, text)
    _require(_READER in str(mail["To"]), "the mail went to somebody else")


async def _await_webhook(seen: Seen, timeline: Timeline, event: str, subscriber: int) -> None:
    await _until(seen, lambda: event in seen.webhooks)
    _require(event in seen.webhooks, f"not there after {_SECONDS} s: the webhook {event}")
    timeline.line(seen.webhooks[event][0], _describe(seen, event, subscriber))


def _describe(seen: Seen, event: str, subscriber: int) -> str:
    received = seen.webhooks[event][1]
    _require(received.genuine, f"the signature of {event} does not fit the secret")
    told = received.body["data"]["subscriber"]
    _require(told["id"] == subscriber, f"{event} is about somebody else: {told}")
    return f"webhook {event}, signature verified"


async def _until(seen: Seen, there: Callable[[], bool]) -> None:
    try:
        async with asyncio.timeout(_SECONDS):
            while not there():
                seen.changed.clear()
                await seen.changed.wait()
    except TimeoutError:
        return


async def _post(client: aiohttp.ClientSession, path: str, body: Mapping[str, object]) -> dict[str, Any]:
    async with client.post(path, json=body) as response:
        answer: dict[str, Any] = await response.json()
        _require(response.status == 200, f"{path} answered {response.status}: {answer}")
        return answer


def _require(fact: object, otherwise: str) -> None:
    if not fact:
        raise Fault(otherwise)
