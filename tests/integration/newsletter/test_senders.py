"""Senders, mail accounts and DKIM keys in the database: made, changed, loaded as routes, warmed up."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from mailement_common.ids import BrandId
from mailement_common.sealing import KeyRing, new_key
from mailement_newsletter.catalog.dkim_keys import (
    DkimKeyState,
    create_dkim_key,
    open_dkim_key,
    set_dkim_key_state,
)
from mailement_newsletter.catalog.mail_accounts import (
    MailAccount,
    NewMailAccount,
    create_mail_account,
    find_mail_account,
    list_mail_accounts,
    set_mail_account_state,
    update_mail_account,
)
from mailement_newsletter.catalog.senders import (
    SenderReport,
    SenderTerms,
    create_sender,
    find_sender,
    list_senders,
    set_sender_state,
    update_sender,
)
from mailement_newsletter.catalog.sending_secrets import reseal_sending_secrets
from mailement_newsletter.errors import AlreadyExists, InvalidName, InvalidSetting, NotFound
from mailement_newsletter.queries import senders as queries
from mailement_newsletter.queries.pacing import observe, reserve, slow_down
from mailement_newsletter.queries.senders import BrandRoutes, load_routes, note_returns, park, unpark
from mailement_newsletter.queries.warmups import advance_warmups
from mailement_newsletter.rules.mail_accounts import AccountProvider
from mailement_newsletter.rules.pacing import Bucket, DayQuota, Want
from mailement_newsletter.rules.senders import MailAccountState, MailKind, SenderId, SenderState
from mailement_newsletter.rules.warmup import Warmup
from tests.integration.newsletter.plans import scans
from tests.support.brands import MakeTenant, Tenant

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
TODAY = date(2030, 1, 31)
KEY = new_key("test")
KEYS = KeyRing(KEY)
RELAY: dict[str, Any] = {"host": "relay.example", "user": "acme"}


async def relay(pool: asyncpg.Pool, name: str = "relay", **changes: Any) -> MailAccount:
    new = NewMailAccount(name=name, provider=AccountProvider.SMTP, settings=RELAY, **changes)
    async with pool.acquire() as connection:
        return await create_mail_account(connection, KEYS, new, secret="hunter2")


async def sender(tenant: Tenant, address: str = "news@acme.example", **terms: Any) -> SenderReport:
    async with tenant.pool.acquire() as connection:
        return await create_sender(
            connection, tenant.brand, address=address, terms=SenderTerms(**{"name": "Acme", **terms})
        )


async def routes_of(tenant: Tenant, at: datetime = NOON) -> BrandRoutes:
    found = await load_routes(tenant.pool, [tenant.id], now=at, house_domain="house.example")
    return found[tenant.id]


async def begin_warmup(pool: asyncpg.Pool, sender_id: SenderId, day: int, on: date) -> None:
    await pool.execute("UPDATE senders SET warmup_day = $2, warmup_on = $3 WHERE id = $1", sender_id, day, on)


async def send(pool: asyncpg.Pool, key: str, day: date, mails: int) -> None:
    await reserve(pool, [Want(mails=mails, days=[DayQuota(key=key, day=day, limit=mails)])], NOON)


async def test_a_secret_goes_in_sealed_and_never_comes_out(brand: Tenant) -> None:
    made = await relay(brand.pool)
    stored = await brand.pool.fetchval("SELECT secret_sealed FROM mail_accounts")

    assert made.has_secret
    assert "hunter2" not in repr(made) + stored
    assert KEYS.open(stored, owner=f"mail_account:{made.id}") == "hunter2"


async def test_two_mail_accounts_cannot_have_one_name(brand: Tenant) -> None:
    await relay(brand.pool)
    with pytest.raises(AlreadyExists):
        await relay(brand.pool)
    async with brand.pool.acquire() as connection:
        assert len(await list_mail_accounts(connection)) == 1


async def test_a_mail_account_that_cannot_work_is_refused(brand: Tenant) -> None:
    resend = NewMailAccount(name="resend", provider=AccountProvider.RESEND, settings={})
    async with brand.pool.acquire() as connection:
        with pytest.raises(InvalidSetting):
            await create_mail_account(connection, KEYS, resend, secret=None)
        with pytest.raises(NotFound):
            await find_mail_account(connection, "resend")
    with pytest.raises(InvalidName):
        await relay(brand.pool, "No Name")
    with pytest.raises(InvalidSetting):
        await relay(brand.pool, per_second=-1)


async def test_a_change_of_a_mail_account_counts_as_a_new_version(brand: Tenant) -> None:
    made = await relay(brand.pool)
    async with brand.pool.acquire() as connection:
        moved = await update_mail_account(
            connection, KEYS, made, settings={**RELAY, "host": "other.example"}, per_second=2.5
        )
        open_relay = await update_mail_account(
            connection, KEYS, moved, settings={"host": "other.example"}, per_second=None
        )

    assert (moved.version, moved.settings["host"], moved.per_second, moved.has_secret) == (
        *(2, "other.example", 2.5),
        True,
    )
    assert (open_relay.version, open_relay.per_second, open_relay.has_secret) == (3, None, False)


async def test_a_retired_mail_account_stays_so(brand: Tenant) -> None:
    made = await relay(brand.pool)
    async with brand.pool.acquire() as connection:
        retired = await set_mail_account_state(connection, made, MailAccountState.RETIRED)
        with pytest.raises(InvalidSetting):
            await set_mail_account_state(connection, retired, MailAccountState.ACTIVE)
        with pytest.raises(InvalidSetting):
            await update_mail_account(connection, KEYS, retired, settings=RELAY, per_second=None)
    with pytest.raises(InvalidSetting):
        await sender(brand, mail_account="relay")


async def test_a_sender_is_made_changed_paused_and_resumed(brand: Tenant) -> None:
    await relay(brand.pool)
    made = await sender(
        brand, mail_account="relay", kinds=[MailKind.DRIP], daily_limit=40, reply_to="me@acme.example"
    )
    assert (made.mail_account, made.kinds, made.daily_limit, made.state) == (
        *("relay", [MailKind.DRIP], 40),
        SenderState.ACTIVE,
    )
    async with brand.pool.acquire() as connection:
        changed = await update_sender(
            connection, brand.brand, made, SenderTerms(name="Ada", kinds=[MailKind.CAMPAIGN], rank=3)
        )
        assert changed.terms == SenderTerms(name="Ada", kinds=[MailKind.CAMPAIGN], rank=3)
        assert (await set_sender_state(connection, changed, SenderState.PAUSED)).state == SenderState.PAUSED
        assert (await find_sender(connection, made.id, brand.brand)).address == "news@acme.example"


@pytest.mark.parametrize(
    ("address", "terms"),
    [
        ("nobody", {}),
        ("news@acme.example", {"name": "two\nlines"}),
        ("news@acme.example", {"reply_to": "nobody"}),
        ("news@acme.example", {"kinds": []}),
        ("news@acme.example", {"rank": -1}),
        ("news@acme.example", {"rank": 40_000}),
        ("news@acme.example", {"daily_limit": 0}),
        ("news@acme.example", {"daily_limit": 10_000_000_000}),
        ("news@acme.example", {"mail_account": "none-such"}),
    ],
)
async def test_a_sender_that_cannot_work_is_refused(
    brand: Tenant, address: str, terms: dict[str, Any]
) -> None:
    with pytest.raises((InvalidName, InvalidSetting, NotFound)):
        await sender(brand, address, **terms)
    assert await brand.pool.fetchval("SELECT count(*) FROM senders") == 0


async def test_an_address_is_one_sender_of_a_brand(make_brand: MakeTenant) -> None:
    one, other = await make_brand(), await make_brand()
    await sender(one)
    await sender(other)
    with pytest.raises(AlreadyExists):
        await sender(one)
    async with one.pool.acquire() as connection:
        assert len(await list_senders(connection)) == 2
        assert [found.brand for found in await list_senders(connection, one.brand)] == [one.brand.slug]
        with pytest.raises(NotFound):
            await find_sender(connection, (await list_senders(connection, one.brand))[0].id, other.brand)


async def test_a_mail_account_is_for_the_brands_of_its_account(make_brand: MakeTenant) -> None:
    one, other = await make_brand(), await make_brand()
    await relay(one.pool, account_id=one.brand.account_id)

    assert (await sender(one, mail_account="relay")).mail_account == "relay"
    with pytest.raises(InvalidSetting, match="another account"):
        await sender(other, mail_account="relay")


async def test_a_brand_without_senders_has_the_account_of_the_settings_and_no_limits(brand: Tenant) -> None:
    routes = await routes_of(brand)

    assert routes.senders == []
    assert (routes.default_bucket, routes.default_dkim) == (None, None)


async def test_the_account_of_the_settings_is_paced_once_its_provider_told_a_limit(brand: Tenant) -> None:
    await observe(brand.pool, "account:default", limit=10, window=timedelta(seconds=1), now=NOON)

    bucket = (await routes_of(brand)).default_bucket

    assert bucket is not None
    (grant,) = await reserve(brand.pool, [Want(mails=50, buckets=[bucket])], NOON)
    assert grant.mails == 1


async def test_routes_of_many_brands_come_in_one_statement_and_in_rank(make_brand: MakeTenant) -> None:
    one, other, bare = await make_brand(), await make_brand(), await make_brand()
    made = await relay(one.pool, per_second=5)
    await sender(one, "b@acme.example", rank=2)
    await sender(one, "a@acme.example", rank=1, mail_account="relay", daily_limit=40)
    await sender(other, "c@acme.example")
    await send(one.pool, f"sender:{(await routes_of(one)).senders[0].sender.id}", TODAY, 7)

    found = await load_routes(
        one.pool, [one.id, other.id, bare.id, BrandId(99)], now=NOON, house_domain="house.example"
    )

    assert set(found) == {one.id, other.id, bare.id}
    first, second = found[one.id].senders
    assert [first.sender.address, second.sender.address] == ["a@acme.example", "b@acme.example"]
    assert first.account is not None
    assert (first.account.id, first.account.settings) == (made.id, RELAY)
    assert first.bucket == Bucket(key=f"account:{made.id}", interval=timedelta(seconds=1 / 4.5), burst=1)
    assert list(first.used.values()) == [7]
    assert (second.account, second.bucket) == (None, None)
    assert [route.sender.address for route in found[other.id].senders] == ["c@acme.example"]


async def test_the_rate_of_a_route_is_what_its_provider_told_and_had_to_ask_for(brand: Tenant) -> None:
    await sender(brand, "a@acme.example")
    key = "account:default"
    await observe(brand.pool, key, limit=2, window=timedelta(seconds=1), now=NOON)
    (route,) = (await routes_of(brand)).senders
    assert route.bucket is not None
    told = timedelta(seconds=1 / 1.8)
    assert abs(route.bucket.pace - told) < timedelta(milliseconds=1)

    await slow_down(brand.pool, key, timedelta(seconds=1), NOON)
    (route,) = (await routes_of(brand)).senders
    assert route.bucket is not None
    assert abs(route.bucket.interval - told) < timedelta(milliseconds=1), "the row halves it"
    assert abs(route.bucket.pace - 2 * told) < timedelta(milliseconds=1)


@pytest.mark.parametrize("generic", [False, True], ids=["custom plan", "generic plan"])
@pytest.mark.parametrize("full", [False, True], ids=["nothing stored yet", "much stored"])
async def test_loading_routes_reads_no_more_than_the_brands_that_are_asked_for(
    brand: Tenant, generic: bool, full: bool
) -> None:
    if full:
        await store_much(brand)
    async with brand.pool.acquire() as connection:
        query = queries.SQL["load_routes"]
        found = await scans(connection, query, [brand.id], TODAY, "house.example", NOON, generic=generic)
    sequential = {scan.table for scan in found if scan.kind == "Seq Scan"}
    assert not {"brands", "senders", "sending_days", "pacing_buckets"} & sequential


async def store_much(brand: Tenant) -> None:
    await brand.pool.execute(
        """
        INSERT INTO sending_days (key, day, used)
        SELECT 'sender:' || n, DATE '2030-01-01' + d, 1 FROM generate_series(1, 2000) AS n, generate_series(1, 30) AS d
        """
    )
    await brand.pool.execute(
        """
        INSERT INTO brands (account_id, slug, name, opt_in_mode)
        SELECT $1, 'b' || n, 'b', 'single' FROM generate_series(1, 5000) AS n
        """,
        brand.brand.account_id,
    )
    await brand.pool.execute(
        """
        INSERT INTO senders (brand_id, name, address, kinds)
        SELECT id, 'n', 'n@acme.example', ARRAY['drip'] FROM brands
        """
    )
    await brand.pool.execute(
        "INSERT INTO pacing_buckets (key, tat) SELECT 'account:' || n, now() FROM generate_series(1, 5000) AS n"
    )
    await brand.pool.execute("ANALYZE brands, senders, sending_days, pacing_buckets")


async def test_mail_is_signed_with_the_newest_active_key_of_its_domain(make_brand: MakeTenant) -> None:
    one, other = await make_brand(), await make_brand()
    await sender(one, "news@acme.example")
    await sender(one, "news@elsewhere.example", rank=1)
    await sender(other, "news@ACME.example")
    async with one.pool.acquire() as connection:
        for selector, owner, state in (
            ("old", one.brand.account_id, DkimKeyState.ACTIVE),
            ("new", one.brand.account_id, DkimKeyState.ACTIVE),
            ("next", one.brand.account_id, DkimKeyState.PENDING),
            ("last", one.brand.account_id, DkimKeyState.RETIRED),
        ):
            made = await create_dkim_key(
                connection,
                KEYS,
                account_id=owner,
                domain="acme.example",
                selector=selector,
                algorithm="rsa-sha256",
                private_key=f"pem of {selector}",
            )
            assert made.state is DkimKeyState.PENDING
            await set_dkim_key_state(connection, made, state)
        acme, elsewhere = (await routes_of(one)).senders
        foreign = (await routes_of(other)).senders[0].dkim
        assert acme.dkim is not None
        assert acme.dkim.selector == "new"
        assert await open_dkim_key(connection, KEYS, acme.dkim.id) == "pem of new"
    # Another account's mail from the same domain is not ours to sign.
    assert (elsewhere.dkim, foreign) == (None, None)


async def test_a_key_of_the_operator_signs_for_everybody_from_its_domain(brand: Tenant) -> None:
    async with brand.pool.acquire() as connection:
        made = await create_dkim_key(
            connection,
            KEYS,
            account_id=None,
            domain="house.example",
            selector="s1",
            algorithm="ed25519-sha256",
            private_key="pem",
        )
        with pytest.raises(AlreadyExists):
            await create_dkim_key(
                connection,
                KEYS,
                account_id=brand.brand.account_id,
                domain="house.example",
                selector="s1",
                algorithm="ed25519-sha256",
                private_key="pem",
            )
        await set_dkim_key_state(connection, made, DkimKeyState.ACTIVE)

    dkim = (await routes_of(brand)).default_dkim

    assert dkim is not None
    assert dkim.id == made.id


async def test_an_account_is_parked_for_everybody_until_its_rest_is_over_or_ended(brand: Tenant) -> None:
    made = await relay(brand.pool)
    await sender(brand, mail_account="relay")
    later = NOON + timedelta(hours=2)

    assert await park(brand.pool, made.id, until=later, reason="quota")
    # A shorter rest does not cut it short.
    assert await park(brand.pool, made.id, until=NOON, reason="slow down")
    account = (await routes_of(brand)).senders[0].account
    assert account is not None
    assert account.parked_until == later
    async with brand.pool.acquire() as connection:
        assert (await find_mail_account(connection, "relay")).parked_reason == "quota"
        assert await unpark(brand.pool, made.id)
        assert (await find_mail_account(connection, "relay")).parked_until is None


async def test_what_a_provider_asks_for_is_shown_with_the_account(brand: Tenant) -> None:
    made = await relay(brand.pool)
    await observe(brand.pool, f"account:{made.id}", limit=10, window=timedelta(seconds=1), now=NOON)
    await slow_down(brand.pool, f"account:{made.id}", timedelta(0), NOON)
    async with brand.pool.acquire() as connection:
        shown = await find_mail_account(connection, "relay")

    assert shown.told_per_second == pytest.approx(9, rel=1e-3)
    assert shown.silent_until == NOON


async def test_a_warmup_moves_on_after_a_day_that_was_used(brand: Tenant) -> None:
    made = await sender(brand, warmup=Warmup.NORMAL)
    assert (made.warmup_day, made.warmup_limit) == (0, 5)
    await begin_warmup(brand.pool, made.id, 0, TODAY - timedelta(days=1))
    await send(brand.pool, f"sender:{made.id}", TODAY - timedelta(days=1), 3)

    await asyncio.gather(*(advance_warmups(brand.pool, [made.id], TODAY) for _ in range(4)))

    (route,) = (await routes_of(brand)).senders
    assert (route.sender.warmup_limit, route.warmup_on) == (7, TODAY)


async def test_a_warmup_waits_after_a_day_that_was_not_used(brand: Tenant) -> None:
    made = await sender(brand, warmup=Warmup.NORMAL)
    await begin_warmup(brand.pool, made.id, 0, TODAY - timedelta(days=1))
    await send(brand.pool, f"sender:{made.id}", TODAY - timedelta(days=1), 2)

    await advance_warmups(brand.pool, [made.id], TODAY)

    (route,) = (await routes_of(brand)).senders
    assert (route.sender.warmup_limit, route.warmup_on) == (5, TODAY)


async def test_what_came_back_slows_a_warmup_down_for_a_week(brand: Tenant) -> None:
    made = await sender(brand, warmup=Warmup.FAST)
    bad_day = NOON - timedelta(days=7)
    await begin_warmup(brand.pool, made.id, 4, TODAY - timedelta(days=1))
    await send(brand.pool, f"sender:{made.id}", bad_day.date(), 19)
    await note_returns(brand.pool, made.id, sent_at=bad_day, bounced=1)
    await note_returns(brand.pool, made.id, sent_at=bad_day, complained=1)

    await advance_warmups(brand.pool, [made.id], TODAY)
    (paused,) = (await routes_of(brand)).senders
    await advance_warmups(brand.pool, [made.id], TODAY + timedelta(days=1))
    (free,) = (await routes_of(brand)).senders

    assert (paused.sender.warmup_limit, free.sender.warmup_limit) == (0, 19)


async def test_returns_of_a_sender_without_warmup_are_not_counted(brand: Tenant) -> None:
    made = await sender(brand)
    await note_returns(brand.pool, made.id, sent_at=NOON, bounced=1)
    assert await brand.pool.fetchval("SELECT count(*) FROM sending_days") == 0


async def test_senders_of_one_domain_are_warmed_up_together(brand: Tenant) -> None:
    one = await sender(brand, "one@acme.example", warmup=Warmup.DOMAIN)
    two = await sender(brand, "two@acme.example", warmup=Warmup.DOMAIN)
    for made in (one, two):
        await begin_warmup(brand.pool, made.id, 0, TODAY - timedelta(days=1))
    await send(brand.pool, "domain:acme.example", TODAY - timedelta(days=1), 25)
    await send(brand.pool, "domain:acme.example", TODAY, 11)

    await advance_warmups(brand.pool, [one.id, two.id], TODAY)

    routes = (await routes_of(brand)).senders
    assert [route.sender.day_limits for route in routes] == [{"domain:acme.example": 70}] * 2
    assert [route.used["domain:acme.example"] for route in routes] == [11, 11]


async def test_a_warmup_that_is_chosen_anew_begins_anew_and_one_that_stays_goes_on(brand: Tenant) -> None:
    made = await sender(brand, warmup=Warmup.SLOW)
    await begin_warmup(brand.pool, made.id, 9, TODAY)
    async with brand.pool.acquire() as connection:
        stayed = await update_sender(
            connection, brand.brand, made, SenderTerms(name="Ada", warmup=Warmup.SLOW)
        )
        faster = await update_sender(
            connection, brand.brand, made, SenderTerms(name="Ada", warmup=Warmup.FAST)
        )
        ended = await update_sender(connection, brand.brand, made, SenderTerms(name="Ada"))

    assert stayed.warmup_day == 9
    assert (faster.warmup_day, faster.warmup_limit) == (0, 7)
    assert (ended.warmup, ended.warmup_day, ended.warmup_limit) == (Warmup.NONE, None, None)


async def test_old_days_are_forgotten(brand: Tenant) -> None:
    made = await sender(brand, warmup=Warmup.SLOW)
    await begin_warmup(brand.pool, made.id, 0, TODAY - timedelta(days=1))
    for days in (1, 59, 61, 400):
        await send(brand.pool, "sender:77", TODAY - timedelta(days=days), 1)

    await advance_warmups(brand.pool, [made.id], TODAY)

    kept = await brand.pool.fetch("SELECT day FROM sending_days WHERE key = 'sender:77' ORDER BY day DESC")
    assert [TODAY - row["day"] for row in kept] == [timedelta(days=1), timedelta(days=59)]


async def test_stored_secrets_are_sealed_anew_and_those_that_cannot_be_are_named(brand: Tenant) -> None:
    made = await relay(brand.pool)
    async with brand.pool.acquire() as connection:
        key = await create_dkim_key(
            connection,
            KEYS,
            account_id=None,
            domain="acme.example",
            selector="s1",
            algorithm="rsa-sha256",
            private_key="pem",
        )
        next_key, other_key = new_key("next"), new_key("other")
        lost = await reseal_sending_secrets(connection, KeyRing(other_key))
        assert lost.unreadable == (f"dkim:{key.id}", f"mail_account:{made.id}")
        assert lost.key_ids == {"test"}

        both = KeyRing(f"{next_key},{KEY}")
        done = await reseal_sending_secrets(connection, both)
        assert (done.resealed, done.unreadable, done.key_ids) == (2, (), frozenset({"next"}))
        assert (await reseal_sending_secrets(connection, both)).resealed == 0
        assert await open_dkim_key(connection, KeyRing(next_key), key.id) == "pem"
