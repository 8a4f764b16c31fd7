"""Webhooks of a brand for each test."""

from __future__ import annotations

import pytest

from tests.contract.mailement.webhooks.hooks import Hooks
from tests.support.api import ApiUnderTest
from tests.support.brands import MakeTenant, Tenant


@pytest.fixture
async def hooks(api: ApiUnderTest, brand: Tenant) -> Hooks:
    return await Hooks.of(api, brand)


@pytest.fixture
async def stranger(api: ApiUnderTest, make_brand: MakeTenant) -> Hooks:
    """Another brand of another account."""
    await make_brand()
    return await Hooks.of(api, await make_brand())
