"""Which way a mail goes, chosen from what the database says and kept for some seconds; and who carries it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr
from typing_extensions import override

from mailement_common.ids import BrandId
from mailement_common.sealing import KeyRing, new_key
from mailement_mailer.mailbox import Mailbox
from mailement_mailer.providers.dkim import DkimAlgorithm, record_value, to_pem
from mailement_mailer.providers.dkim import new_key as new_dkim_key
from mailement_mailer.providers.file import FileProvider
from mailement_mailer.providers.fleet import Fleet
from mailement_mailer.providers.port import Sent
from mailement_mailer.routes import NoRoute, Route, RouteBook
from mailement_mailer.settings import MailerSettings
from mailement_newsletter.catalog.brands import Brand, find_brand, update_brand
from mailement_newsletter.catalog.dkim_keys import DkimKeyState, create_dkim_key, set_dkim_key_state
from mailement_newsletter.catalog.mail_accounts import (
    MailAccount,
    NewMailAccount,
    create_mail_account,
    set_mail_account_state,
    update_mail_account,
)
from mailement_newsletter.catalog.senders import (
    SenderReport,
    SenderTerms,
    create_sender,
    set_sender_state,
)
from mailement_newsletter.queries.pacing import reserve, slow_down
from mailement_newsletter.queries.senders import park
from mailement_newsletter.rules.mail_accounts import AccountProvider
from mailement_newsletter.rules.pacing import Want
from mailement_newsletter.rules.senders import MailAccountState, MailKind, SenderState
from mailement_newsletter.rules.warmup import Warmup
from tests.support.database import Database
from tests.support.fake_resend import API_KEY, fake_resend
from tests.support.ledger import ScriptedProvider, SetClock, new_ledger
from tests.support.mails import KEYS, a_mail
from tests.support.smtp_sink import smtp_sink

HOUSE = Mailbox(name="House", address="news@house.example")
RING = KeyRing(KEYS)
SECONDS = timedelta(seconds=1)


class Setup:
    """A brand, a book of routes with a clock that stands still, and short ways to give the brand senders."""

    def __init__(self, pool: asyncpg.Pool, brand: Brand) -> None:
        self.pool = pool
        self.brand = brand
        self.clock = SetClock()
        self.book = RouteBook(pool, RING, self.clock, house=HOUSE)

    async def relay(self, name: str = "relay", **changes: Any) -> MailAccount:
        new = NewMailAccount(
            name=name,
            provider=AccountProvider.SMTP,
            settings={"host": "relay.example", "user": "u"},
            **changes,
        )
        async with self.pool.acquire() as connection:
            return await create_mail_account(connection, RING, new, secret="hunter2")

    async def sender(self, address: str = "one@acme.example", **terms: Any) -> SenderReport:
        async with self.pool.acquire() as connection:
            return await create_sender(
                connection, self.brand, address=address, terms=SenderTerms(**{"name": "Acme", **terms})
            )

    async def chosen(self, kind: MailKind = MailKind.DRIP) -> Route:
        found = await self.book.choose(self.brand.id, kind)
        assert isinstance(found, Route), found
        return found

    async def refused(self, kind: MailKind = MailKind.DRIP) -> NoRoute:
        found = await self.book.choose(self.brand.id, kind)
        assert isinstance(found, NoRoute), found
        return found


@pytest.fixture
async def setup(database: Database) -> AsyncIterator[Setup]:
    await new_ledger(database.pool)
    async with database.pool.acquire() as connection:
        brand = await find_brand(connection, "acme")
    made = Setup(database.pool, brand)
    yield made
    await made.book.close()


async def test_a_brand_without_senders_goes_by_the_settings_without_limits(setup: Setup) -> None:
    route = await setup.chosen()

    assert (route.sender_id, route.account, route.dkim) == (None, None, None)
    assert route.mailbox == HOUSE
    assert not route.want(mails=1).limited


async def test_a_brands_own_words_stand_in_the_place_of_the_settings(setup: Setup) -> None:
    async with setup.pool.acquire() as connection:
        await update_brand(connection, setup.brand, sender_address="hello@acme.example")

    assert (await setup.chosen()).mailbox == Mailbox(name="Acme", address="hello@acme.example")


async def test_a_sender_gives_its_words_its_account_and_its_limits(setup: Setup) -> None:
    account = await setup.relay(per_second=5)
    made = await setup.sender(
        mail_account="relay", daily_limit=40, reply_to="me@acme.example", kinds=[MailKind.CAMPAIGN]
    )

    route = await setup.chosen(MailKind.CAMPAIGN)

    assert route.sender_id == made.id
    assert route.mailbox == Mailbox(name="Acme", address="one@acme.example")
    assert route.reply_to == "me@acme.example"
    assert route.account is not None
    assert (route.account.id, route.account.secret) == (account.id, "hunter2")
    assert "hunter2" not in repr(route)
    assert route.bucket is not None
    assert route.bucket.key == route.account_key == f"account:{account.id}"
    assert [(quota.key, quota.limit) for quota in route.days] == [(f"sender:{made.id}", 40)]
    assert "no sender for drip mail" in (await setup.refused(MailKind.DRIP)).reason


async def test_routes_are_kept_for_some_seconds_and_then_looked_up_again(setup: Setup) -> None:
    assert (await setup.chosen()).sender_id is None
    made = await setup.sender()
    setup.clock.advance(4 * SECONDS)
    assert (await setup.chosen()).sender_id is None

    setup.clock.advance(1 * SECONDS)
    assert (await setup.chosen()).sender_id == made.id


async def test_what_was_forgotten_is_looked_up_at_once(setup: Setup) -> None:
    await setup.chosen()
    made = await setup.sender()
    setup.book.forget(setup.brand.id)
    assert (await setup.chosen()).sender_id == made.id
    async with setup.pool.acquire() as connection:
        await set_sender_state(connection, made, SenderState.PAUSED)
    setup.book.forget()
    await setup.refused()


async def test_brands_that_are_loaded_ahead_are_asked_for_once(setup: Setup) -> None:
    await setup.book.load([setup.brand.id, setup.brand.id, BrandId(99)])
    await setup.pool.execute("ALTER TABLE senders RENAME TO away")

    assert (await setup.chosen()).sender_id is None


async def test_many_choices_at_once_take_one_look(setup: Setup) -> None:
    made = await setup.sender()
    found = await asyncio.gather(*(setup.chosen() for _ in range(50)))
    assert {route.sender_id for route in found} == {made.id}


async def test_a_brand_that_is_not_there_has_no_route(setup: Setup) -> None:
    found = await setup.book.choose(BrandId(99), MailKind.DRIP)
    assert isinstance(found, NoRoute)
    assert found.until > setup.clock.now()


async def test_the_next_sender_takes_over_when_the_day_of_the_first_is_used_up(setup: Setup) -> None:
    first = await setup.sender(daily_limit=2)
    second = await setup.sender("two@acme.example", rank=1)
    route = await setup.chosen()
    assert route.sender_id == first.id

    (grant,) = await reserve(setup.pool, [route.want(mails=5)], setup.clock.now())
    assert (grant.mails, grant.day_used_up) == (2, True)
    setup.book.forget(setup.brand.id)

    assert (await setup.chosen()).sender_id == second.id


async def test_a_new_day_is_not_judged_by_the_count_of_the_last(setup: Setup) -> None:
    first = await setup.sender(daily_limit=2)
    midnight = (setup.clock.now() + timedelta(days=1)).replace(hour=0)
    setup.clock.moment = midnight - 1 * SECONDS
    await reserve(setup.pool, [(await setup.chosen()).want(mails=2)], setup.clock.now())
    setup.book.forget()
    assert (await setup.refused()).until == midnight

    setup.clock.moment = midnight
    assert (await setup.chosen()).sender_id == first.id
    (grant,) = await reserve(setup.pool, [(await setup.chosen()).want(mails=2)], midnight)
    assert grant.mails == 2


async def test_a_parked_account_hands_its_mail_to_the_next_sender_until_its_rest_is_over(
    setup: Setup,
) -> None:
    account = await setup.relay()
    first = await setup.sender(mail_account="relay")
    second = await setup.sender("two@acme.example", rank=1, kinds=[MailKind.DRIP])
    until = setup.clock.now() + timedelta(minutes=10)
    await park(setup.pool, account.id, until=until, reason="quota")

    assert (await setup.chosen(MailKind.DRIP)).sender_id == second.id
    refusal = await setup.refused(MailKind.CAMPAIGN)
    assert refusal == NoRoute(until=until, reason="the mail account is parked")

    setup.clock.moment = until
    assert (await setup.chosen(MailKind.CAMPAIGN)).sender_id == first.id


@pytest.mark.parametrize("state", [MailAccountState.PAUSED, MailAccountState.RETIRED])
async def test_an_account_that_is_out_carries_nothing(setup: Setup, state: MailAccountState) -> None:
    account = await setup.relay()
    await setup.sender(mail_account="relay")
    async with setup.pool.acquire() as connection:
        await set_mail_account_state(connection, account, state)

    refusal = await setup.refused()

    assert "paused or retired" in refusal.reason
    assert refusal.until > setup.clock.now()


async def test_an_account_that_was_asked_for_silence_is_paced_from_then_on(setup: Setup) -> None:
    await setup.sender()
    now = setup.clock.now()
    assert (await setup.chosen()).bucket is None

    await slow_down(setup.pool, "account:default", timedelta(seconds=30), now)
    setup.book.forget()

    bucket = (await setup.chosen()).bucket
    assert bucket is not None
    (grant,) = await reserve(setup.pool, [Want(mails=1, buckets=[bucket])], now)
    assert (grant.mails, grant.again_at) == (0, now + timedelta(seconds=30))


async def test_a_warmup_moves_on_when_the_first_mail_of_a_day_is_due(setup: Setup) -> None:
    made = await setup.sender(warmup=Warmup.SLOW)
    day = setup.clock.now()
    await setup.pool.execute("UPDATE senders SET warmup_on = $1", day.date())
    assert [quota.limit for quota in (await setup.chosen()).days] == [5]
    await reserve(setup.pool, [(await setup.chosen()).want(mails=5)], day)

    setup.clock.advance(timedelta(days=1))

    (quota,) = (await setup.chosen()).days
    assert (quota.limit, quota.day) == (6, setup.clock.now().date())
    assert await setup.pool.fetchval("SELECT warmup_day FROM senders WHERE id = $1", made.id) == 1


async def test_a_signing_key_comes_opened_and_ready(setup: Setup) -> None:
    await setup.sender()
    key = await dkim_key(setup, RING)

    dkim = (await setup.chosen()).dkim

    assert dkim is not None
    assert (dkim.domain, dkim.selector, record_value(dkim)) == ("acme.example", "s1", key)


async def test_mail_waits_rather_than_leaving_unsigned_or_without_its_password(setup: Setup) -> None:
    await setup.relay()
    await setup.sender(mail_account="relay")
    strange = KeyRing(new_key("strange"))
    book = RouteBook(setup.pool, strange, setup.clock, house=HOUSE)
    refusal = await book.choose(setup.brand.id, MailKind.DRIP)
    assert isinstance(refusal, NoRoute)
    assert refusal.reason.startswith("the secret of mail_account:")
    await book.close()

    await dkim_key(setup, strange)
    assert (await setup.refused()).reason.startswith("the secret of dkim:")


async def dkim_key(setup: Setup, ring: KeyRing) -> str:
    key = new_dkim_key(domain="acme.example", selector="s1", algorithm=DkimAlgorithm.ED25519_SHA256)
    async with setup.pool.acquire() as connection:
        made = await create_dkim_key(
            connection,
            ring,
            account_id=setup.brand.account_id,
            domain=key.domain,
            selector=key.selector,
            algorithm=key.algorithm,
            private_key=to_pem(key).decode(),
        )
        await set_dkim_key_state(connection, made, DkimKeyState.ACTIVE)
    return record_value(key)


def a_fleet(setup: Setup, default: Any = None) -> Fleet:
    settings = MailerSettings(
        database_url="postgresql://127.0.0.1/x", amqp_url="amqp://127.0.0.1", secret_keys=SecretStr(KEYS)
    )
    return Fleet(settings, default or ScriptedProvider(), setup.clock)


def mails_in(folder: Path) -> list[Path]:
    return list(folder.glob("*.eml"))


async def carry(setup: Setup, fleet: Fleet) -> Any:
    route = await setup.chosen()
    return await fleet.provider(route.account).send(a_mail(sender=route.mailbox))


async def test_the_account_of_the_settings_is_the_default_provider(setup: Setup) -> None:
    default = ScriptedProvider()
    assert a_fleet(setup, default).provider(None) is default


async def test_each_provider_is_built_from_what_its_account_was_told(setup: Setup, tmp_path: Path) -> None:
    fleet = a_fleet(setup)
    async with smtp_sink() as sink, fake_resend() as resend, setup.pool.acquire() as connection:
        told: list[tuple[AccountProvider, dict[str, Any], str | None]] = [
            (AccountProvider.FILE, {"folder": str(tmp_path)}, None),
            (AccountProvider.SMTP, {"host": "127.0.0.1", "port": sink.port, "tls": "none"}, None),
            (AccountProvider.RESEND, {"url": resend.url}, API_KEY),
        ]
        for rank, (provider, settings, secret) in enumerate(told):
            new = NewMailAccount(name=provider.value, provider=provider, settings=settings)
            await create_mail_account(connection, RING, new, secret=secret)
            made = await setup.sender(f"{provider}@acme.example", mail_account=provider.value, rank=rank)
            setup.book.forget()
            assert isinstance(await carry(setup, fleet), Sent)
            await set_sender_state(connection, made, SenderState.PAUSED)

        assert len(mails_in(tmp_path)) == 1
        assert len(sink.mails) == 1
        assert len(resend.mails) == 1
        await fleet.close()


async def test_a_provider_is_kept_until_its_account_is_changed(setup: Setup) -> None:
    fleet = a_fleet(setup)
    account = await setup.relay()
    await setup.sender(mail_account="relay")
    first = fleet.provider((await setup.chosen()).account)
    assert fleet.provider((await setup.chosen()).account) is first

    async with setup.pool.acquire() as connection:
        await update_mail_account(
            connection, RING, account, settings={"host": "other.example", "user": "u"}, per_second=None
        )
    setup.book.forget()

    assert fleet.provider((await setup.chosen()).account) is not first
    await fleet.close()


async def test_a_retired_accounts_provider_is_closed_when_nobody_asks_for_it_any_more(
    setup: Setup, tmp_path: Path
) -> None:
    fleet = a_fleet(setup)
    async with smtp_sink() as sink, setup.pool.acquire() as connection:
        settings = {"host": "127.0.0.1", "port": sink.port, "tls": "none"}
        new = NewMailAccount(name="relay", provider=AccountProvider.SMTP, settings=settings)
        account = await create_mail_account(connection, RING, new, secret=None)
        await setup.sender(mail_account="relay")
        assert isinstance(await carry(setup, fleet), Sent)
        await set_mail_account_state(connection, account, MailAccountState.RETIRED)

        setup.clock.advance(timedelta(minutes=4))
        await fleet.sweep()
        assert len(sink._open) == 1
        setup.clock.advance(timedelta(minutes=2))
        await fleet.sweep()
        async with asyncio.timeout(20):
            while sink._open:
                await asyncio.sleep(0.01)


async def test_everything_is_closed_in_the_end(setup: Setup) -> None:
    closed: list[str] = []

    class Closing(FileProvider):
        @override
        async def close(self) -> None:
            closed.append("default")

    await a_fleet(setup, Closing(Path("unused"))).close()
    assert closed == ["default"]
