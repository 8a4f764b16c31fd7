"""Receivers that answer badly: bounded in time and memory, and named by their class."""

from __future__ import annotations

import pytest

from mailement_webhooks.deliveries import DeliveryState, Reason
from tests.support.webhook_receiver import (
    Behaviour,
    WebhookReceiver,
    cut_short,
    drip,
    endless,
    endless_headers,
    gibberish,
    gzip_bomb,
    reset,
    silence,
)
from tests.support.webhooks import WebhookBrand

_TOTAL_SECONDS = 0.5


@pytest.mark.parametrize(
    ("behaviour", "reason", "status"),
    [
        (silence, Reason.READ_TIMEOUT, None),
        (drip, Reason.BODY_TIMEOUT, 200),
        (reset, Reason.RESET, None),
        (cut_short, Reason.BAD_RESPONSE, 200),
        (endless_headers, Reason.BAD_RESPONSE, None),
        (gibberish, Reason.BAD_RESPONSE, None),
    ],
)
async def test_a_bad_answer_fails_in_time_with_its_class(
    hooked: WebhookBrand,
    receiver: WebhookReceiver,
    behaviour: Behaviour,
    reason: Reason,
    status: int | None,
) -> None:
    receiver.behave(behaviour)
    await hooked.hear_at(receiver.url())
    await hooked.happen(hooked.event())

    async with hooked.dispatching(total_seconds=_TOTAL_SECONDS):
        (delivery,) = await hooked.settled()

    (attempt,) = delivery.attempts
    assert (delivery.state, attempt.reason, attempt.status_code) == (DeliveryState.FAILED, reason, status)
    assert attempt.duration_ms is not None
    assert attempt.duration_ms < 4 * _TOTAL_SECONDS * 1000


@pytest.mark.parametrize("behaviour", [endless, gzip_bomb])
async def test_no_more_than_4_kib_of_an_answer_are_read(
    hooked: WebhookBrand, receiver: WebhookReceiver, behaviour: Behaviour
) -> None:
    receiver.behave(behaviour)
    await hooked.hear_at(receiver.url())
    await hooked.happen(hooked.event())

    async with hooked.dispatching():
        (delivery,) = await hooked.settled()

    (attempt,) = delivery.attempts
    assert delivery.state is DeliveryState.DELIVERED
    assert attempt.response_body is not None
    assert 0 < len(attempt.response_body) <= 4096
    if behaviour is endless:
        assert attempt.response_body == "x" * 4096
