"""A brand and a receiver for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.database import Database
from tests.support.webhook_receiver import WebhookReceiver
from tests.support.webhooks import WebhookBrand


@pytest.fixture
async def hooked(database: Database) -> WebhookBrand:
    """A brand that has no endpoint yet."""
    return await WebhookBrand.create(database)


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with WebhookReceiver() as listening:
        yield listening
