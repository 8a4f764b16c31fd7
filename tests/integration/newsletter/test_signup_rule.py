"""The rule of signing up stands in code and in SQL; both say the same in every case."""

from __future__ import annotations

import pytest

from mailement_newsletter.commands import Subscribe
from mailement_newsletter.rules.addresses import parse_address
from mailement_newsletter.rules.lifecycle import OptInMode, SubscriberStatus, status_after_signup
from mailement_newsletter.usecases.subscribe import subscribe
from tests.support.brands import READER, MakeTenant


@pytest.mark.parametrize("current", [None, *SubscriberStatus])
@pytest.mark.parametrize("mode", OptInMode)
@pytest.mark.parametrize("auto_confirm", [False, True])
async def test_rule_and_statement_agree(
    make_brand: MakeTenant, current: SubscriberStatus | None, mode: OptInMode, auto_confirm: bool
) -> None:
    brand = await make_brand(opt_in=OptInMode.DOUBLE)
    if current is not None:
        await brand.subscriber(status=current)
    await brand.pool.execute("UPDATE brands SET opt_in_mode = $2 WHERE id = $1", brand.id, mode)

    command = Subscribe(brand_id=brand.id, address=parse_address(READER), auto_confirm=auto_confirm)
    outcome = await subscribe(brand.pool, command)

    expected = status_after_signup(current, mode, auto_confirm=auto_confirm)
    assert (outcome.status, (await brand.row())["status"]) == (expected, expected)
    assert outcome.changed is (expected is not current)
