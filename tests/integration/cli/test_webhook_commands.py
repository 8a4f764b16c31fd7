"""`mailement webhook` and `mailement secret reseal` against a ledger whose dispatcher the test plays."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from mailement_common.ids import AccountId, BrandId
from mailement_common.sealing import new_key
from mailement_common.signing import Signer
from mailement_webhooks.deliveries import Reason
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.usecases.advance_replays import advance_replays
from mailement_webhooks.usecases.claim_deliveries import LeasedDelivery
from mailement_webhooks.usecases.discard_marked import discard_marked
from tests.support.database import Database
from tests.support.delivery_ledger import ALL_SHARDS, DeliveryLedger, delivered, failed
from tests.support.operator import Operator, OperatorBeside, operators_environment

URL = "http://127.0.0.1:9/hook"


@dataclass(frozen=True, slots=True, kw_only=True)
class Acme:
    """A brand, its operator, and the ledger that the commands look at."""

    operator: OperatorBeside
    ledger: DeliveryLedger

    async def endpoint(self, *words: str) -> EndpointId:
        made = await self.operator.get("webhook", "create", "--brand", "acme", "--url", URL, *words)
        self.ledger.endpoints.append(EndpointId(made["id"]))
        return EndpointId(made["id"])

    async def attempt(self, count: int = 1) -> list[LeasedDelivery]:
        """Claims what is due."""
        claim = await self.ledger.claim(room=count, replay_room=count)
        return list(claim.deliveries)

    async def deliver(self, count: int = 1) -> list[int]:
        await self.ledger.happens(count)
        claimed = await self.attempt(count)
        await self.ledger.record(*map(delivered, claimed))
        return [delivery.id for delivery in claimed]

    async def fail_for_good(self, **changes: Any) -> int:
        await self.ledger.happens(1)
        (claimed,) = await self.attempt()
        await self.ledger.record(replace(failed(claimed, status_code=503), **changes))
        return claimed.id


@pytest.fixture
async def acme(database: Database) -> Acme:
    operator = OperatorBeside(Operator(operators_environment(database)))
    made = await operator.get("brand", "create", "--slug", "acme", "--name", "Acme", "--opt-in", "single")
    return Acme(
        operator=operator,
        ledger=DeliveryLedger(
            pool=database.pool, account_id=AccountId(made["account_id"]), brand_id=BrandId(made["id"])
        ),
    )


@pytest.fixture
async def operator(acme: Acme) -> OperatorBeside:
    return acme.operator


async def test_the_short_way_is_one_url_per_brand(operator: OperatorBeside) -> None:
    made = await operator.get("webhook", "set", "--brand", "acme", "--url", URL)

    assert set(made) == {"id", "url", "secret"}
    assert made["secret"].startswith("whsec_")
    assert made["secret"] not in await operator.read("webhook", "show", "--brand", "acme")
    assert made["secret"] not in (await operator.type("webhook", "list", "--json")).stdout
    again = await operator.get("webhook", "set", "--brand", "acme", "--url", "http://127.0.0.1:9/other")
    assert again["id"] == made["id"]
    assert again["secret"] != made["secret"]
    assert [one["url"] for one in await operator.get("webhook", "list")] == ["http://127.0.0.1:9/other"]


async def test_setting_again_keeps_how_often_it_is_tried_unless_told(operator: OperatorBeside) -> None:
    words = ("webhook", "set", "--brand", "acme", "--url", URL)

    async def retries() -> str:
        shown = await operator.get("webhook", "show", "--brand", "acme")
        mode: str = shown["endpoint"]["retries"]
        return mode

    await operator.get(*words)
    assert await retries() == "schedule"
    await operator.get(*words, "--retries", "once")
    assert await retries() == "once"
    await operator.get(*words)
    assert await retries() == "once"


async def test_a_brand_may_have_several_and_says_which(operator: OperatorBeside) -> None:
    create = ("webhook", "create", "--brand", "acme", "--url", URL)
    first, second = await operator.get(*create), await operator.get(*create, "--description", "the shop")

    assert first["secret"] != second["secret"]
    line = await operator.fail("webhook", "show", "--brand", "acme")
    assert f"{first['id']}, {second['id']}" in line
    shown = await operator.read("webhook", "show", str(second["id"]))
    assert "the shop" in shown
    assert second["secret"] not in shown


async def test_a_webhook_is_created_with_all_that_it_may_have(operator: OperatorBeside) -> None:
    made = await operator.get(
        *("webhook", "create", "--brand", "acme", "--url", URL, "--profile", "maily"),
        *("--event", "subscriber.bounced", "--event", "endpoint.failing", "--retries", "once", "--ordered"),
        *("--rate", "2.5", "--max-in-flight", "3", "--description", "the archive"),
    )

    asked = (
        "profile",
        "event_types",
        "retries",
        "ordered",
        "rate_per_second",
        "max_in_flight",
        "description",
    )
    assert [made[name] for name in asked] == [
        *("maily", ["subscriber.bounced", "endpoint.failing"], "once", True),
        *(2.5, 3, "the archive"),
    ]


async def test_one_webhook_hears_every_brand_of_an_account(operator: OperatorBeside) -> None:
    made = await operator.get("webhook", "create", "--account", "default", "--url", URL)

    assert made["brand_id"] is None
    assert [one["id"] for one in await operator.get("webhook", "list", "--account", "default")] == [
        made["id"]
    ]
    assert await operator.get("webhook", "list", "--brand", "acme") == []
    assert "default" in await operator.read("webhook", "list")


async def test_the_list_names_brands_and_accounts(operator: OperatorBeside) -> None:
    await operator.get("webhook", "create", "--brand", "acme", "--url", URL)

    (listed,) = await operator.get("webhook", "list", "--brand", "acme")

    assert (listed["brand"], listed["account"]) == ("acme", "default")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("show", "--brand", "acme"), "no webhook"),
        (("show", "99"), "99"),
        (("show", "99999999999999999999"), "range"),
        (("delete", "--brand", "acme"), "no webhook"),
        (("set", "--brand", "acme", "--url", "http://10.0.0.1/hook"), "not a public address"),
        (("set", "--brand", "acme", "--url", "ftp://example.com"), "http"),
        (("create", "--account", "nobody", "--url", URL), "nobody"),
        (("create", "--brand", "acme", "--url", URL, "--event", "subscriber.born"), "subscriber.born"),
        (("create", "--brand", "acme", "--url", URL, "--rate", "0"), "rate"),
        (("create", "--brand", "acme", "--url", URL, "--rate", "nan"), "rate"),
        (("create", "--brand", "acme", "--url", URL, "--max-in-flight", "0"), "max_in_flight"),
        (("create", "--brand", "acme", "--url", URL, "--description", "x" * 201), "200"),
        (("update", "99", "--ordered"), "99"),
        (("pause", "99"), "99"),
        (("enable", "99"), "99"),
        (("deliveries", "--brand", "nobody"), "nobody"),
        (("deliveries", "--brand", "acme", "--cursor", "nonsense"), "cursor"),
        (("delivery", "99"), "99"),
        (("explain", "99"), "99"),
        (("resend", "99"), "99"),
        (("remove-payload", "99", "--yes"), "99"),
        (("events", "99"), "99"),
        (("secret", "stage", "99"), "99"),
        (("replay", "start", "99"), "99"),
        (("replay", "start", "99", "--dry-run"), "99"),
        (("replay", "show", "99"), "99"),
        (("replay", "watch", "99"), "99"),
        (("replay", "cancel", "99"), "99"),
    ],
)
async def test_what_cannot_be_done_is_told_in_one_line(
    operator: OperatorBeside, words: tuple[str, ...], told: str
) -> None:
    assert told in await operator.fail("webhook", *words)


@pytest.mark.parametrize(
    "words",
    [
        ("show",),
        ("show", "1", "--brand", "acme"),
        ("pause",),
        ("create", "--url", URL),
        ("create", "--url", URL, "--brand", "acme", "--account", "default"),
        ("update", "1", "--rate", "fast"),
        ("enable", "1", "--drain", "sideways"),
        ("deliveries",),
        ("deliveries", "--brand", "acme", "--since", "yesterday"),
        ("deliveries", "--brand", "acme", "--state", "lost"),
        ("events",),
        ("replay", "start"),
        ("replay", "start", "1", "--outcome", "pending"),
    ],
)
async def test_words_that_are_not_understood_end_with_two(words: tuple[str, ...]) -> None:
    nowhere = OperatorBeside(Operator(operators_environment()))

    assert (await nowhere.type("webhook", *words)).exit_code == 2


async def test_an_update_changes_what_is_given_and_keeps_the_rest(acme: Acme) -> None:
    endpoint = str(await acme.endpoint("--rate", "5", "--description", "the shop"))

    changed = await acme.operator.get(
        *("webhook", "update", endpoint, "--url", "http://127.0.0.1:9/new", "--ordered"),
        *("--event", "subscriber.bounced", "--max-in-flight", "2"),
    )

    assert (changed["url"], changed["ordered"], changed["max_in_flight"]) == (
        "http://127.0.0.1:9/new",
        True,
        2,
    )
    assert changed["event_types"] == ["subscriber.bounced"]
    assert (changed["rate_per_second"], changed["description"]) == (5, "the shop")


async def test_an_update_takes_limits_and_words_away(acme: Acme) -> None:
    endpoint = str(await acme.endpoint("--rate", "5", "--max-in-flight", "2", "--description", "the shop"))

    changed = await acme.operator.get(
        *("webhook", "update", endpoint, "--rate", "none", "--max-in-flight", "none", "--description", ""),
    )

    assert [changed[name] for name in ("rate_per_second", "max_in_flight", "description")] == [None] * 3


async def test_an_update_of_nothing_is_refused(acme: Acme) -> None:
    endpoint = str(await acme.endpoint())

    assert "say what to change" in await acme.operator.fail("webhook", "update", endpoint)


async def test_a_paused_webhook_holds_what_comes_until_it_is_enabled(acme: Acme) -> None:
    endpoint = str(await acme.endpoint())

    assert (await acme.operator.get("webhook", "pause", "--brand", "acme"))["state"] == "paused"
    await acme.ledger.happens(2)

    held = await acme.operator.get("webhook", "deliveries", "--endpoint", endpoint, "--state", "held")
    assert len(held) == 2
    assert "paused" in await acme.operator.read("webhook", "show", endpoint)
    assert (await acme.operator.get("webhook", "enable", endpoint))["state"] == "enabled"
    waiting = await acme.operator.get("webhook", "deliveries", "--endpoint", endpoint, "--state", "pending")
    assert {one["id"] for one in waiting} == {one["id"] for one in held}


@pytest.mark.parametrize(("drain", "kept"), [("oldest-first", 3), ("newest-only", 1), ("discard", 0)])
async def test_what_was_held_is_drained_as_told(acme: Acme, drain: str, kept: int) -> None:
    endpoint = str(await acme.endpoint())
    await acme.operator.get("webhook", "pause", endpoint)
    await acme.ledger.happens(3)

    await acme.operator.get("webhook", "enable", endpoint, "--drain", drain)

    await discard_marked(acme.ledger.pool, 100)
    assert len(await acme.attempt(10)) == kept


async def test_a_webhook_is_deleted_by_brand_or_id(acme: Acme) -> None:
    first = await acme.endpoint()
    assert await acme.operator.get("webhook", "delete", "--brand", "acme") == {
        "id": first,
        "brand": "acme",
        "deleted": True,
    }
    second = await acme.endpoint()

    assert await acme.operator.get("webhook", "delete", str(second)) == {"id": second, "deleted": True}

    assert await acme.operator.get("webhook", "list") == []
    assert str(second) in await acme.operator.fail("webhook", "delete", str(second))


async def test_deleting_a_brand_deletes_its_webhooks(acme: Acme) -> None:
    await acme.endpoint()
    await acme.endpoint()

    await acme.operator.get("brand", "delete", "acme", "--yes")

    assert await acme.operator.get("webhook", "list") == []


async def test_show_tells_how_a_webhook_fares(acme: Acme) -> None:
    endpoint = str(await acme.endpoint())
    await acme.deliver(2)
    await acme.fail_for_good(detail="HTTP 503")

    report = await acme.operator.get("webhook", "show", endpoint)

    assert (report["delivered"], report["failed"], report["waiting"]) == (2, 1, 0)
    assert report["last_failure"]["status_code"] == 503
    assert report["secrets"]["step"] == "settled"
    assert report["secrets"]["key_ids"] == ["test"]
    shown = await acme.operator.read("webhook", "show", endpoint)
    assert "how it fares" in shown
    assert "The receiver says that it is not available" in shown


async def test_deliveries_are_listed_in_pages_and_by_what_became_of_them(acme: Acme) -> None:
    endpoint = str(await acme.endpoint())
    good = await acme.deliver(3)
    bad = await acme.fail_for_good()
    words = ("webhook", "deliveries", "--brand", "acme")

    assert [one["id"] for one in await acme.operator.get(*words)] == [bad, *good[::-1]]
    assert [one["id"] for one in await acme.operator.get(*words, "--state", "failed")] == [bad]
    assert await acme.operator.get(*words, "--type", "subscriber.bounced") == []
    assert await acme.operator.get(*words, "--until", "1h") == []
    assert len(await acme.operator.get(*words, "--since", "1h", "--endpoint", endpoint)) == 4
    assert await acme.operator.read(*words, "--state", "held") == "(none)\n"
    page = await acme.operator.type(*words, "--limit", "2", "--json")
    cursor = page.stderr.split()[-1]
    rest = await acme.operator.type(*words, "--limit", "2", "--cursor", cursor)
    assert [line.split()[0] for line in rest.stdout.splitlines()[1:]] == [str(one) for one in good[1::-1]]
    assert rest.stderr == ""


async def test_a_delivery_is_shown_with_its_attempts_and_in_full_only_when_asked(acme: Acme) -> None:
    await acme.endpoint()
    failed_one = str(await acme.fail_for_good(response_body="no\x1b[31m room\nhere"))

    shown = await acme.operator.read("webhook", "delivery", failed_one)

    assert "http_5xx" in shown
    assert "POST /hook" not in shown
    assert "happened" not in shown
    full = await acme.operator.read("webhook", "delivery", failed_one, "--full")
    assert "POST /hook" in full
    assert '{"it": "happened"}' in full
    assert "\x1b" not in full
    assert "\n  here\n" in full
    as_json = await acme.operator.get("webhook", "delivery", failed_one)
    assert (as_json["body"], as_json["attempts"][0]["request_head"]) == (None, None)
    as_json = await acme.operator.get("webhook", "delivery", failed_one, "--full")
    assert as_json["body"] == '{"it": "happened"}'
    assert as_json["attempts"][0]["phases"]["connect"] == 1


async def test_a_delivery_that_waits_for_its_next_attempt_is_explained(acme: Acme) -> None:
    await acme.endpoint()
    await acme.ledger.happens(1)
    (claimed,) = await acme.attempt()
    assert "being sent" in await acme.operator.read("webhook", "explain", str(claimed.id))
    await acme.ledger.record(failed(claimed, again_in=120, status_code=502, detail="the answer was 502"))

    told = _joined(await acme.operator.read("webhook", "explain", str(claimed.id)))

    assert "waits" in told
    assert "The next attempt comes in" in told
    assert "10 more follow" in told
    assert "(http_5xx): the answer was 502." in told
    assert "start the receiver" in told
    explained = await acme.operator.get("webhook", "explain", str(claimed.id))
    assert [one["kind"] for one in explained["blockers"]] == ["not_due"]
    assert len(explained["remaining"]) == 11


async def test_a_held_delivery_is_explained(acme: Acme) -> None:
    endpoint = str(await acme.endpoint())
    await acme.ledger.happens(1)
    await acme.operator.get("webhook", "pause", endpoint)
    (row,) = await acme.ledger.queued()

    told = _joined(await acme.operator.read("webhook", "explain", str(row["delivery_id"])))

    assert "is held" in told
    assert "paused since" in told
    assert "it is discarded" in told


async def test_a_delivery_that_failed_for_good_is_explained_with_the_way_out(acme: Acme) -> None:
    await acme.endpoint()
    given_up = str(
        await acme.fail_for_good(reason=Reason.TLS, status_code=None, detail="certificate has expired")
    )

    told = _joined(await acme.operator.read("webhook", "explain", given_up))

    assert "failed for good" in told
    assert "certificate has expired" in told
    assert told.count("renew the certificate") == 1
    assert f"mailement webhook resend {given_up}" in told


async def test_of_several_webhooks_set_asks_which_one_is_meant(acme: Acme) -> None:
    first, second = await acme.endpoint(), await acme.endpoint()
    words = ("webhook", "set", "--brand", "acme", "--url", f"{URL}/new")

    assert f"say which one of {first}, {second}" in await acme.operator.fail(*words)
    assert (await acme.operator.get(*words, "--endpoint", str(second)))["url"] == f"{URL}/new"
    assert [one["url"] for one in await acme.operator.get("webhook", "list")].count(f"{URL}/new") == 1


async def test_what_cannot_be_sent_once_more_is_not_offered_for_it(acme: Acme) -> None:
    endpoint = str(await acme.endpoint())
    given_up = str(await acme.fail_for_good())
    await acme.operator.get("webhook", "delete", endpoint)

    told = _joined(await acme.operator.read("webhook", "explain", given_up))
    assert "failed for good" in told
    assert "resend" not in told


async def test_a_delivered_one_is_explained_in_two_lines(acme: Acme) -> None:
    await acme.endpoint()
    (done,) = await acme.deliver()

    told = await acme.operator.read("webhook", "explain", str(done))

    assert "was delivered" in told
    assert len(told.splitlines()) == 2


async def test_a_delivery_is_sent_again(acme: Acme) -> None:
    await acme.endpoint()
    (done,) = await acme.deliver()

    again = await acme.operator.get("webhook", "resend", str(done))

    assert again["state"] == "pending"
    (claimed,) = await acme.attempt()
    assert (claimed.id, claimed.trigger, claimed.attempt) == (done, "manual", 2)
    assert "being sent" in await acme.operator.fail("webhook", "resend", str(done))
    await acme.ledger.record(delivered(claimed))
    assert f"webhook delivery {done}" in await acme.operator.read("webhook", "resend", str(done))


async def test_a_resend_to_a_paused_webhook_says_that_it_is_held(acme: Acme) -> None:
    endpoint = str(await acme.endpoint())
    (done,) = await acme.deliver()
    await acme.operator.get("webhook", "pause", endpoint)

    assert f"webhook explain {done}" in await acme.operator.read("webhook", "resend", str(done))


async def test_a_payload_is_removed_after_a_question(acme: Acme) -> None:
    await acme.endpoint()
    (done,) = await acme.deliver()
    words = ("webhook", "remove-payload", str(done))

    assert (await acme.operator.type(*words, given="n\n")).exit_code == 1
    assert (await acme.operator.get("webhook", "delivery", str(done), "--full"))["body"] is not None

    assert (await acme.operator.get(*words, "--yes"))["delivery_ids"] == [done]

    shown = await acme.operator.get("webhook", "delivery", str(done), "--full")
    assert (shown["body"], shown["attempts"][0]["request_head"]) == (None, None)
    assert "removed" in await acme.operator.fail("webhook", "resend", str(done))


async def test_events_are_pulled_by_their_numbers(acme: Acme) -> None:
    endpoint = str(await acme.endpoint())
    await acme.ledger.happens(5)
    words = ("webhook", "events", endpoint)

    pulled = await acme.operator.get(*words, "--after", "1", "--limit", "2")

    assert [event["sequence"] for event in pulled["events"]] == [2, 3]
    assert pulled["events"][0]["body"] == '{"it": "happened"}'
    assert (pulled["after"], pulled["last"]) == (3, 5)
    page = await acme.operator.type(*words, "--limit", "2")
    assert "--after 2" in page.stderr
    assert (await acme.operator.type("webhook", "events", "--brand", "acme")).stderr == ""


async def test_a_secret_changes_in_steps_that_say_what_comes_next(acme: Acme) -> None:
    endpoint = str(await acme.endpoint())

    async def step(verb: str) -> Any:
        return await acme.operator.get("webhook", "secret", verb, endpoint)

    staged = await step("stage")

    assert staged["secret"].startswith("whsec_")
    assert "secret promote" in staged["next"]
    assert "staged" in await acme.operator.fail("webhook", "secret", "stage", endpoint)
    promoted = await step("promote")
    assert promoted["rotation"] == "promoted"
    assert "secret retire" in promoted["next"]
    assert "secret" not in promoted
    assert (await step("rollback"))["rotation"] == "staged"
    await step("promote")
    assert (await step("retire"))["rotation"] == "settled"
    assert "settled" in await acme.operator.fail("webhook", "secret", "promote", endpoint)
    assert "settled" in await acme.operator.fail("webhook", "secret", "rollback", "--brand", "acme")
    told = await acme.operator.read("webhook", "secret", "stage", "--brand", "acme")
    assert "Let the receiver accept both" in _joined(told)


async def test_a_request_is_verified_with_the_stored_secrets(acme: Acme) -> None:
    made = await acme.operator.get("webhook", "create", "--brand", "acme", "--url", URL)
    staged = await acme.operator.get("webhook", "secret", "stage", str(made["id"]))
    words = ("webhook", "verify", "--at", "2026-05-19T17:42:00")
    at, body = 1779212520, b'{"it": "happened"}'
    stranger = "whsec_" + base64.b64encode(b"s" * 32).decode()

    def request(secret: str) -> bytes:
        signature = Signer(secret).standard("m", at, body)
        head = f"webhook-id: m\r\nwebhook-timestamp: {at}\r\nwebhook-signature: {signature}\r\n\r\n"
        return head.encode() + body

    for secret, label in ((made["secret"], "active"), (staged["secret"], "staged")):
        for which in (("--brand", "acme"), ("--endpoint", str(made["id"]))):
            told = await acme.operator.type(*words, *which, given=request(secret))
            assert told.exit_code == 0, told.output
            assert label in told.stdout
            assert secret not in told.stdout
    assert (await acme.operator.type(*words, "--brand", "acme", given=request(stranger))).exit_code == 1


@pytest.mark.parametrize("which", [("--brand", "acme"), ("--endpoint", "99")])
async def test_nothing_is_verified_without_an_endpoint(
    operator: OperatorBeside, which: tuple[str, str]
) -> None:
    told = await operator.type("webhook", "verify", *which, given="webhook-id: m\n\nbody")

    assert told.exit_code == 1
    assert len(told.stderr.splitlines()) == 1


async def test_secrets_are_sealed_anew_with_the_first_key(acme: Acme) -> None:
    endpoint = str(await acme.endpoint())
    await acme.operator.get("webhook", "secret", "stage", endpoint)
    environment, old = acme.operator.environment, acme.operator.environment["MAILEMENT_SECRET_KEYS"]
    both = OperatorBeside(Operator({**environment, "MAILEMENT_SECRET_KEYS": f"{new_key('next')},{old}"}))

    resealed = await both.get("secret", "reseal")

    assert resealed == {"secrets": 2, "endpoints": 1, "key_ids_in_use": ["next"]}
    assert (await both.get("secret", "reseal"))["secrets"] == 0
    assert "than next" in await both.read("secret", "reseal")
    assert (await both.get("webhook", "show", endpoint))["secrets"]["key_ids"] == ["next"]


async def test_secrets_whose_key_is_missing_are_named(acme: Acme) -> None:
    endpoint = str(await acme.endpoint())
    environment = {**acme.operator.environment, "MAILEMENT_SECRET_KEYS": new_key("other")}
    without = OperatorBeside(Operator(environment))

    told = await without.type("secret", "reseal", "--json")

    assert told.exit_code == 1
    assert '"key_ids_in_use":["test"]' in told.stdout
    assert told.stderr.splitlines()[0].endswith(f"of webhooks {endpoint}")


async def test_a_replay_is_counted_before_it_is_started(acme: Acme) -> None:
    endpoint = str(await acme.endpoint())
    await acme.deliver(3)
    await acme.fail_for_good()
    dry = ("webhook", "replay", "start", endpoint, "--dry-run")

    assert (await acme.operator.get(*dry))["deliveries"] == 4
    assert (await acme.operator.get(*dry, "--outcome", "failed"))["deliveries"] == 1
    assert (await acme.operator.get(*dry, "--until", "1h"))["deliveries"] == 0
    assert "4 deliveries; at 2 a second 2 s" in await acme.operator.read(*dry, "--rate", "2")
    assert "rate" in await acme.operator.fail(*dry, "--rate", "0")
    assert await acme.operator.get("webhook", "replay", "list") == []


async def test_a_replay_is_paused_resumed_hurried_and_cancelled(acme: Acme) -> None:
    await acme.endpoint()
    await acme.deliver(3)
    started = await acme.operator.get(
        "webhook", "replay", "start", "--brand", "acme", "--type", "subscriber.confirmed"
    )
    replay = str(started["id"])

    async def deed(*words: str) -> Any:
        return await acme.operator.get("webhook", "replay", *words)

    assert (started["state"], started["total"], started["types"]) == ("running", 3, ["subscriber.confirmed"])
    assert (await deed("pause", replay))["state"] == "paused"
    assert (await deed("resume", replay))["state"] == "running"
    assert (await deed("rate", replay, "50"))["rate_per_second"] == 50
    assert (await deed("show", replay))["time_left"] == 0.06
    assert [one["id"] for one in await deed("list", "--brand", "acme")] == [started["id"]]
    assert replay in await acme.operator.read("webhook", "replay", "list")
    assert await deed("list", "--before", replay) == []
    assert "rate" in await acme.operator.fail("webhook", "replay", "rate", replay, "0")
    assert (await deed("cancel", replay))["state"] == "cancelled"
    assert "ended" in await acme.operator.fail("webhook", "replay", "resume", replay)


async def test_a_replay_is_watched_to_its_end(acme: Acme) -> None:
    endpoint = str(await acme.endpoint())
    await acme.deliver(20)

    async with _replaying(acme):
        told = await acme.operator.type(
            *("webhook", "replay", "start", endpoint, "--rate", "1000", "--watch", "--json")
        )

    assert told.exit_code == 0, told.output
    assert '"state":"finished"' in told.stdout
    assert told.stderr.splitlines()[0].startswith("replay 1 0%  0/20")
    assert told.stderr.splitlines()[-1].startswith("replay 1 finished 100%  20/20  20 delivered, 0 failed")


async def test_watching_a_replay_that_has_ended_tells_how(acme: Acme) -> None:
    await acme.endpoint()
    await acme.deliver(2)
    replay = str((await acme.operator.get("webhook", "replay", "start", "--brand", "acme"))["id"])
    await acme.operator.get("webhook", "replay", "cancel", replay)

    told = await acme.operator.type("webhook", "replay", "watch", replay)

    assert told.exit_code == 0
    assert "cancelled" in told.stdout
    assert told.stderr == f"replay {replay} cancelled 0%  0/2  0 delivered, 0 failed\n"


@contextlib.asynccontextmanager
async def _replaying(acme: Acme) -> AsyncIterator[None]:
    """What the endpoint's owner does, over and over."""

    async def own() -> None:
        while True:
            await advance_replays(acme.ledger.pool, shards=ALL_SHARDS, seconds=0.05)
            await acme.ledger.record(*map(delivered, await acme.attempt(10)))
            await asyncio.sleep(0.01)

    owner = asyncio.create_task(own())
    try:
        yield
    finally:
        owner.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await owner


def _joined(text: str) -> str:
    """Without the ends of lines that a terminal's width makes."""
    return " ".join(text.split())
