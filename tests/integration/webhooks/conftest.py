"""A brand with a ledger, and no endpoints yet."""

from __future__ import annotations

import pytest

from tests.support.database import Database
from tests.support.delivery_ledger import DeliveryLedger


@pytest.fixture
async def ledger(database: Database) -> DeliveryLedger:
    return await DeliveryLedger.create(database)
