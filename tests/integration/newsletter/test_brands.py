from __future__ import annotations

import pytest

from mailement_newsletter.catalog.brands import create_brand, find_brand, update_brand
from mailement_newsletter.errors import InvalidName
from mailement_newsletter.rules.lifecycle import OptInMode
from tests.support.brands import Tenant


@pytest.mark.parametrize(
    "given",
    [
        {"slug": "two words>"},
        {"slug": "müller"},
        {"slug": ""},
        {"name": " "},
        {"sender_address": "jürgen@example.com"},
        {"sender_name": "a\r\nBcc: b@example.com"},
    ],
)
async def test_a_brand_whose_every_mail_would_fail_is_not_made(brand: Tenant, given: dict[str, str]) -> None:
    wanted = {"slug": "letters", "name": "Letters", **given}
    async with brand.pool.acquire() as connection:
        with pytest.raises(InvalidName):
            await create_brand(
                connection,
                account_id=brand.brand.account_id,
                slug=wanted["slug"],
                name=wanted["name"],
                opt_in=OptInMode.SINGLE,
                sender_name=wanted.get("sender_name"),
                sender_address=wanted.get("sender_address"),
            )


async def test_an_update_changes_what_is_given_and_nothing_else(brand: Tenant) -> None:
    async with brand.pool.acquire() as connection:
        before = await find_brand(connection, brand.brand.slug)
        after = await update_brand(connection, before, sender_address="news@münchen.example")

    assert after.sender_address == "news@xn--mnchen-3ya.example"
    assert (after.name, after.opt_in_mode, after.sender_name) == (
        before.name,
        before.opt_in_mode,
        before.sender_name,
    )
