"""Drips of a brand for each test."""

from __future__ import annotations

import pytest

from tests.contract.mailement.drips.series import Drips
from tests.support.api import ApiUnderTest
from tests.support.brands import MakeTenant, Tenant


@pytest.fixture
async def drips(api: ApiUnderTest, brand: Tenant) -> Drips:
    return await Drips.of(api, brand)


@pytest.fixture
async def stranger(api: ApiUnderTest, make_brand: MakeTenant) -> Drips:
    """Another brand of another account."""
    await make_brand()
    return await Drips.of(api, await make_brand())
