"""`mailement webhook explain`: for whoever is woken by "the webhook did not come"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import click

from mailement_cli.output import say, to_json
from mailement_cli.progress import span_in_words
from mailement_cli.session import command, database, json_option
from mailement_common.clock import SystemClock
from mailement_common.settings import load
from mailement_webhooks.deliveries import DeliveryState
from mailement_webhooks.explanations import Blocker, BlockerKind, Explanation, LastError
from mailement_webhooks.ids import DeliveryId
from mailement_webhooks.settings import WebhookWaitSettings
from mailement_webhooks.usecases.explain_delivery import explain_delivery

_STATES: Final = {
    DeliveryState.PENDING: "waits",
    DeliveryState.HELD: "is held",
    DeliveryState.LEASED: "is being sent",
    DeliveryState.DELIVERED: "was delivered",
    DeliveryState.FAILED: "has failed for good",
    DeliveryState.DISCARDED: "was discarded",
}


@click.command()
@click.argument("delivery_id", metavar="ID", type=int)
@json_option
@command
async def explain(delivery_id: int, *, as_json: bool) -> None:
    """Say why a delivery has not arrived, when it will, and what to do."""
    waits = load(WebhookWaitSettings)
    async with database() as connection:
        found = await explain_delivery(connection, DeliveryId(delivery_id), waits=waits)
    if as_json:
        click.echo(to_json(found))
        return
    for number, paragraph in enumerate(paragraphs(found, at=SystemClock().now())):
        if number:
            click.echo()
        for line in paragraph:
            say(line)


def paragraphs(found: Explanation, *, at: datetime) -> Iterator[Sequence[str]]:
    """Lines: what is so and what comes next, what stands in the way, what went wrong last, and what can be done."""
    delivery, blockers = found.delivery, _blockers(found)
    summary = [] if found.blockers else [found.summary]
    yield [
        f"Delivery {delivery.id}, {delivery.type} for webhook {delivery.endpoint_id}, {_STATES[delivery.state]}.",
        *summary,
    ]
    if blockers:
        yield [f"- {blocker.text}" for blocker in blockers]
    if prospect := " ".join((*_next(found, at), *_schedule(found), *_expiry(found))):
        yield [prospect]
    if found.last_error is not None:
        yield [_trouble(found.last_error, already_said=found.summary)]
    if found.can_be_resent and delivery.state is not DeliveryState.DELIVERED:
        yield [f"To send it once more: mailement webhook resend {delivery.id}"]


def _blockers(found: Explanation) -> Sequence[Blocker]:
    """Without the one that says no more than when the next attempt is."""
    if found.next_attempt_at is None:
        return found.blockers
    return [blocker for blocker in found.blockers if blocker.kind is not BlockerKind.NOT_DUE]


def _next(found: Explanation, at: datetime) -> Iterator[str]:
    if found.next_attempt_at is not None and found.next_attempt_at > at:
        wait = span_in_words(found.next_attempt_at - at)
        yield f"The next attempt comes in {wait} at the earliest, at {_moment(found.next_attempt_at)}."


def _schedule(found: Explanation) -> Iterator[str]:
    """What follows when the attempt that is made now, or comes next, fails."""
    under_way = found.delivery.state is DeliveryState.LEASED
    attempt = "this" if under_way else "that" if found.next_attempt_at else "the next"
    later = found.remaining if under_way else found.remaining[1:]
    if later:
        times = "1 more follows" if len(later) == 1 else f"{len(later)} more follow"
        yield f"If {attempt} attempt fails, {times}, the last at {_moment(later[-1])} or somewhat after."
    elif found.remaining or under_way:
        yield f"If {attempt} attempt fails, it is given up."


def _expiry(found: Explanation) -> Iterator[str]:
    if found.hold_expires_at is not None:
        yield f"If the webhook is not enabled by {_moment(found.hold_expires_at)}, it is discarded."


def _trouble(error: LastError, *, already_said: str) -> str:
    happened = error.detail or (
        "no more is known" if error.status_code is None else f"HTTP {error.status_code}"
    )
    advice = "" if error.advice in already_said else f" {error.advice}"
    return f"Last failure, at {_moment(error.at)} ({error.reason}): {happened.rstrip('.')}.{advice}"


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
