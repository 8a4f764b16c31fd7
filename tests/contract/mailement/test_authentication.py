"""Who may come in (section 2)."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable

import pytest

from mailement_newsletter.catalog.brands import delete_brand
from mailement_newsletter.catalog.keys import create_key, find_key_by_id, revoke_key
from tests.contract.mailement.endpoints import (
    ENDPOINTS,
    ENROLL,
    SUBSCRIBE,
    SUBSCRIBERS,
    TAGS,
    UNSUBSCRIBE,
    Endpoint,
    each,
)
from tests.support.api import ApiUnderTest
from tests.support.brands import AT_ONCE, READER, MakeTenant, Tenant, count_rows

CUSTOM = "X-Newsletter-Api-Key"
WRONG = "mlm_live_" + "0" * 32


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await holds():
            await asyncio.sleep(0.02)


async def _furnish(brand: Tenant) -> None:
    await brand.subscriber()
    await brand.topic("weekly")
    assert await brand.drip(AT_ONCE) == 1


def test_a_key_is_its_prefix_and_32_hex_digits(brand: Tenant) -> None:
    assert re.fullmatch(r"mlm_live_[0-9a-f]{32}", brand.key)


async def test_only_the_hash_of_a_key_is_stored(brand: Tenant) -> None:
    row = await brand.pool.fetchrow("SELECT * FROM api_keys WHERE id = $1", brand.new_key.id)
    assert row is not None
    assert row["key_hash"] == hashlib.sha256(brand.key.encode()).digest()
    assert brand.key[9:] not in repr(row)


@each(*ENDPOINTS)
async def test_a_bearer_token_works_everywhere(api: ApiUnderTest, brand: Tenant, endpoint: Endpoint) -> None:
    await _furnish(brand)
    assert (await api.post(endpoint.path, endpoint.body, key=brand.key)).status == 200


@each(SUBSCRIBERS, UNSUBSCRIBE, TAGS)
async def test_tag_flavoured_endpoints_take_the_custom_header_too(
    api: ApiUnderTest, brand: Tenant, endpoint: Endpoint
) -> None:
    await _furnish(brand)
    assert (await api.post(endpoint.path, endpoint.body, headers={CUSTOM: brand.key})).status == 200


@each(SUBSCRIBE, ENROLL)
async def test_the_other_endpoints_do_not_take_the_custom_header(
    api: ApiUnderTest, brand: Tenant, endpoint: Endpoint
) -> None:
    await _furnish(brand)
    answer = await api.post(endpoint.path, endpoint.body, headers={CUSTOM: brand.key})
    assert answer.error == (401, "missing_api_key")


@each(*ENDPOINTS)
async def test_without_a_key_nobody_comes_in(api: ApiUnderTest, endpoint: Endpoint) -> None:
    answer = await api.post(endpoint.path, endpoint.body)
    assert answer.error == (401, "missing_api_key")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@each(*ENDPOINTS)
async def test_an_unknown_key_is_invalid(api: ApiUnderTest, endpoint: Endpoint) -> None:
    answer = await api.post(endpoint.path, endpoint.body, key=WRONG)
    assert answer.error == (401, "invalid_api_key")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "header",
    [
        "",
        " ",
        "Bearer",
        "Bearer ",
        "Basic bWFyaWE6c2VjcmV0",
        "mlm_live_" + "0" * 32,
        "Token x",
        "Bearermlm_live_x",
    ],
)
async def test_what_is_no_bearer_token_is_a_missing_key(api: ApiUnderTest, header: str) -> None:
    answer = await api.post(SUBSCRIBE.path, SUBSCRIBE.body, headers={"Authorization": header})
    assert answer.error == (401, "missing_api_key")


@pytest.mark.parametrize("header", ["", "  "])
async def test_an_empty_custom_header_is_a_missing_key(api: ApiUnderTest, header: str) -> None:
    answer = await api.post(SUBSCRIBERS.path, SUBSCRIBERS.body, headers={CUSTOM: header})
    assert answer.error == (401, "missing_api_key")


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
async def test_the_word_bearer_may_be_written_in_any_case(
    api: ApiUnderTest, brand: Tenant, scheme: str
) -> None:
    answer = await api.post(
        SUBSCRIBE.path, SUBSCRIBE.body, headers={"Authorization": f"{scheme} {brand.key}"}
    )
    assert answer.status == 200


@pytest.mark.parametrize(
    "key",
    ["x", WRONG.upper(), "mlm_live_", "é", "a" * 4000, "' OR 1=1 --", "mlm_live_" + "g" * 32],
    ids=["one letter", "upper case", "prefix only", "not ASCII", "very long", "SQL", "not hex"],
)
async def test_whatever_else_is_sent_as_a_key_is_invalid(api: ApiUnderTest, key: str) -> None:
    answer = await api.post(SUBSCRIBE.path, SUBSCRIBE.body, key=key)
    assert answer.error == (401, "invalid_api_key")


async def test_a_key_differs_from_its_other_spellings(api: ApiUnderTest, brand: Tenant) -> None:
    for other in (brand.key.upper(), brand.key[:-1], brand.key + "0"):
        assert (await api.post(SUBSCRIBE.path, SUBSCRIBE.body, key=other)).status == 401


async def test_a_wrong_bearer_token_is_not_healed_by_a_right_custom_header(
    api: ApiUnderTest, brand: Tenant
) -> None:
    answer = await api.post(SUBSCRIBERS.path, SUBSCRIBERS.body, key=WRONG, headers={CUSTOM: brand.key})
    assert answer.error == (401, "invalid_api_key")


async def test_the_key_is_looked_at_before_the_body(api: ApiUnderTest) -> None:
    assert (await api.post(SUBSCRIBE.path, raw=b"{")).error == (401, "missing_api_key")
    assert (await api.post(SUBSCRIBE.path, raw=b"{", key=WRONG)).error == (401, "invalid_api_key")


async def test_a_revoked_key_lets_nobody_in_from_then_on(api: ApiUnderTest, brand: Tenant) -> None:
    assert (await api.post(SUBSCRIBE.path, SUBSCRIBE.body, key=brand.key)).status == 200
    async with brand.pool.acquire() as connection:
        await revoke_key(connection, brand.new_key.id)

    async def refused() -> bool:
        return (await api.post(SUBSCRIBE.path, SUBSCRIBE.body, key=brand.key)).status == 401

    await _until(refused)
    assert (await api.post(SUBSCRIBE.path, SUBSCRIBE.body, key=brand.key)).error == (401, "invalid_api_key")


async def test_a_new_key_works_at_once_beside_the_old_one(api: ApiUnderTest, brand: Tenant) -> None:
    async with brand.pool.acquire() as connection:
        new = await create_key(connection, brand.brand, name="second")
    for key in (brand.key, new.key):
        assert (await api.post(SUBSCRIBE.path, SUBSCRIBE.body, key=key)).status == 200


async def test_a_key_that_was_refused_before_it_was_made_is_not_refused_for_long(
    api: ApiUnderTest, brand: Tenant
) -> None:
    async with brand.pool.acquire() as connection:
        made = await create_key(connection, brand.brand, name="second")
        await connection.execute("UPDATE api_keys SET revoked_at = now() WHERE id = $1", made.id)
        assert (await api.post(SUBSCRIBE.path, SUBSCRIBE.body, key=made.key)).status == 401
        await connection.execute("UPDATE api_keys SET revoked_at = NULL WHERE id = $1", made.id)
        # Any announcement makes the api look again.
        await revoke_key(connection, (await create_key(connection, brand.brand, name="third")).id)

    async def let_in() -> bool:
        return (await api.post(SUBSCRIBE.path, SUBSCRIBE.body, key=made.key)).status == 200

    await _until(let_in)


@each(*ENDPOINTS)
async def test_the_key_of_a_deleted_brand_finds_no_brand(
    api: ApiUnderTest, brand: Tenant, endpoint: Endpoint
) -> None:
    await _furnish(brand)
    async with brand.pool.acquire() as connection:
        await delete_brand(connection, brand.brand)
    before = await count_rows(brand.pool)
    assert (await api.post(endpoint.path, endpoint.body, key=brand.key)).error == (404, "brand_not_found")
    assert await count_rows(brand.pool) == before


async def test_a_brand_that_is_deleted_while_its_key_is_remembered_is_not_found(
    api: ApiUnderTest, brand: Tenant
) -> None:
    assert (await api.post(SUBSCRIBE.path, SUBSCRIBE.body, key=brand.key)).status == 200
    async with brand.pool.acquire() as connection:
        await delete_brand(connection, brand.brand)
    answer = await api.post(SUBSCRIBE.path, {"email": "next@example.com"}, key=brand.key)
    assert (answer.error, await brand.subscribers()) == ((404, "brand_not_found"), 1)


async def test_a_key_of_a_whole_account_is_none_of_this_dialect(api: ApiUnderTest, brand: Tenant) -> None:
    await brand.pool.execute("UPDATE api_keys SET brand_id = NULL WHERE id = $1", brand.new_key.id)
    answer = await api.post(SUBSCRIBE.path, SUBSCRIBE.body, key=brand.key)
    assert answer.error == (401, "invalid_api_key")


async def test_a_key_acts_for_its_own_brand_only(api: ApiUnderTest, make_brand: MakeTenant) -> None:
    ours, theirs = await make_brand(), await make_brand()
    await api.post(SUBSCRIBE.path, {"email": READER, "brand_id": theirs.id}, key=ours.key)
    assert (await ours.subscribers(), await theirs.subscribers()) == (1, 0)


async def test_the_last_use_of_a_key_is_noted(api: ApiUnderTest, brand: Tenant) -> None:
    await api.post(SUBSCRIBE.path, SUBSCRIBE.body, key=brand.key)

    async def noted() -> bool:
        async with brand.pool.acquire() as connection:
            return (await find_key_by_id(connection, brand.new_key.id)).last_used_at is not None

    await _until(noted)
