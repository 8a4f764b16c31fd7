"""Which events are posted."""

from __future__ import annotations

from mailement_common.bus.topology import WEBHOOKS
from mailement_webhook_dispatcher.handlers import HANDLERS
from mailement_webhooks.endpoints import MAILEMENT_EVENT_TYPES


def test_every_type_that_an_endpoint_hears_has_a_handler() -> None:
    assert set(HANDLERS) == set(MAILEMENT_EVENT_TYPES)


def test_the_queue_hears_every_type_that_has_a_handler() -> None:
    assert WEBHOOKS.hears == ("subscriber.*",)
    assert all(event_type.startswith("subscriber.") for event_type in HANDLERS)
