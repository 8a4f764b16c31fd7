"""What operators do with endpoints shows in what is posted."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from mailement_cli.torture.received import Received
from mailement_webhooks.deliveries import DeliveryState
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.usecases.promote_secret import promote_secret
from mailement_webhooks.usecases.resend_delivery import resend_delivery
from mailement_webhooks.usecases.retire_secret import retire_secret
from mailement_webhooks.usecases.rollback_secret import rollback_secret
from mailement_webhooks.usecases.stage_secret import stage_secret
from tests.support.webhook_receiver import WebhookReceiver, status
from tests.support.webhooks import WebhookBrand


def _signed(request: Received, secret: str) -> tuple[bool, bool]:
    """Whether the secret signed `webhook-signature`, and whether it signed the document's header."""
    expected = "sha256=" + hmac.new(secret.encode(), request.body, hashlib.sha256).hexdigest()
    try:
        Webhook(secret).verify(request.body, {name.lower(): value for name, value in request.headers})
    except WebhookVerificationError:
        return False, request.header("X-Mailement-Signature") == expected
    return True, request.header("X-Mailement-Signature") == expected


async def test_a_rotation_shows_in_the_signatures_of_every_post(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    endpoint, old = await hooked.hear_at(receiver.url())
    pool = hooked.database.pool
    seen: list[tuple[tuple[bool, bool], tuple[bool, bool]]] = []

    async with hooked.dispatching():

        async def post(new: str) -> None:
            await hooked.happen(hooked.event())
            requests = await receiver.received(len(seen) + 1)
            await hooked.settled(len(seen) + 1)
            seen.append((_signed(requests[-1], old), _signed(requests[-1], new)))

        _, new = await stage_secret(pool, hooked.key_ring, endpoint.id)
        await post(new)
        await promote_secret(pool, endpoint.id)
        await post(new)
        await rollback_secret(pool, endpoint.id)
        await post(new)
        await promote_secret(pool, endpoint.id)
        await retire_secret(pool, endpoint.id)
        await post(new)

    both, none = (True, True), (False, False)
    assert seen == [(both, (True, False)), ((True, False), both), (both, (True, False)), (none, both)]


@pytest.mark.parametrize("times", [1, 3])
async def test_a_delivery_is_posted_again_as_often_as_somebody_asks(
    hooked: WebhookBrand, receiver: WebhookReceiver, times: int
) -> None:
    receiver.behave(status(404), "/hook")
    endpoint, _ = await hooked.hear_at(receiver.url())
    await hooked.database.pool.execute("UPDATE webhook_endpoints SET retries = 'once'")
    async with hooked.dispatching():
        await hooked.happen(hooked.event())
        (entry,) = await hooked.settled()
        for number in range(times):
            await resend_delivery(hooked.database.pool, entry.id, brand_id=hooked.id)
            await receiver.received(number + 2)
            (entry,) = await hooked.settled()

    assert EndpointId(entry.endpoint_id) == endpoint.id
    assert entry.state is DeliveryState.FAILED
    assert [attempt.trigger for attempt in entry.attempts] == ["automatic", *["manual"] * times]
    assert len({request.header("webhook-id") for request in receiver.requests}) == 1
