"""Deliveries, explanations and pulled events over HTTP."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import quote

import pytest

from tests.contract.mailement.webhooks.hooks import Hooks
from tests.support.delivery_ledger import delivered, failed


async def _fail(hooks: Hooks) -> int:
    """A delivery that has failed for good."""
    await hooks.make()
    await hooks.ledger.happens(1)
    (claimed,) = (await hooks.ledger.claim()).deliveries
    await hooks.ledger.record(
        failed(claimed, status_code=502, detail="HTTP 502", response_body="bad gateway")
    )
    return claimed.id


async def test_deliveries_are_listed_in_pages(hooks: Hooks) -> None:
    await hooks.make()
    await hooks.ledger.happens(5)

    first = await hooks.get("/deliveries?limit=3")
    second = await hooks.get(f"/deliveries?limit=3&cursor={first['cursor']}")
    ids = [delivery["id"] for delivery in (*first["deliveries"], *second["deliveries"])]
    assert (len(ids), ids, second["cursor"]) == (5, sorted(ids, reverse=True), None)
    assert {delivery["state"] for delivery in first["deliveries"]} == {"pending"}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("state=failed", True),
        ("state=delivered", False),
        ("state=pending", False),
        ("type=subscriber.confirmed", True),
        ("type=subscriber.bounced", False),
        ("endpoint_id=1", True),
        ("endpoint_id=2", False),
        ("from=2020-01-01", True),
        ("until=2020-01-01", False),
        ("from=2020-01-01T00:00:00%2B02:00&until=2999-01-01T00:00:00Z&state=failed&endpoint_id=1", True),
        ("unknown=1", True),
    ],
)
async def test_a_list_is_narrowed_by_what_stands_behind_the_question_mark(
    hooks: Hooks, query: str, found: bool
) -> None:
    delivery_id = await _fail(hooks)
    listed = (await hooks.get(f"/deliveries?{query}"))["deliveries"]
    assert [delivery["id"] for delivery in listed] == ([delivery_id] if found else [])


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("state=lost", "invalid_state"),
        ("state=", "invalid_state"),
        ("type=%00", "invalid_type"),
        ("type=" + "x" * 101, "invalid_type"),
        ("endpoint_id=0", "invalid_endpoint_id"),
        ("endpoint_id=9223372036854775808", "invalid_endpoint_id"),
        ("endpoint_id=" + quote("١"), "invalid_endpoint_id"),
        ("from=yesterday", "invalid_from"),
        ("from=0001-01-01", "invalid_from"),
        ("from=2026-02-30", "invalid_from"),
        ("until=9999-12-31T23:59:59-23:59", "invalid_until"),
        ("until=2026-05-19T17:42:00%2B99:99", "invalid_until"),
        ("limit=0", "invalid_limit"),
        ("limit=101", "invalid_limit"),
        ("limit=1e1", "invalid_limit"),
        ("limit=", "invalid_limit"),
        ("cursor=", "invalid_cursor"),
        ("cursor=%00", "invalid_cursor"),
        ("cursor=%ff", "invalid_cursor"),
    ],
)
async def test_a_wrong_value_is_refused_by_its_name(hooks: Hooks, query: str, code: str) -> None:
    assert (await hooks.call("GET", f"/deliveries?{query}")).error == (422, code)


async def test_one_delivery_is_shown_with_payload_and_attempts(hooks: Hooks) -> None:
    delivery_id = await _fail(hooks)
    shown = await hooks.get(f"/deliveries/{delivery_id}")

    assert (shown["delivery"]["state"], shown["delivery"]["reason"]) == ("failed", "http_5xx")
    assert shown["payload"] == {"it": "happened"}
    (attempt,) = shown["attempts"]
    assert (attempt["number"], attempt["status_code"], attempt["response_body"]) == (1, 502, "bad gateway")
    assert set(attempt["phases_ms"]) == {"dns", "connect", "tls", "first_byte", "body"}
    for moment in (shown["delivery"]["occurred_at"], attempt["started_at"]):
        assert datetime.fromisoformat(moment).utcoffset() is not None
        assert moment.endswith("+00:00")


async def test_a_delivery_is_sent_again_once_it_has_ended(hooks: Hooks) -> None:
    delivery_id = await _fail(hooks)

    assert (await hooks.post(f"/deliveries/{delivery_id}/resend"))["delivery"]["state"] == "pending"
    (again,) = (await hooks.ledger.claim()).deliveries
    refused = await hooks.call("POST", f"/deliveries/{delivery_id}/resend")
    assert refused.error == (409, "delivery_under_way")
    await hooks.ledger.record(delivered(again))
    assert (await hooks.get(f"/deliveries/{delivery_id}"))["delivery"]["state"] == "delivered"


async def test_a_payload_is_removed_and_can_be_sent_no_more(hooks: Hooks) -> None:
    delivery_id = await _fail(hooks)

    removed = await hooks.delete(f"/deliveries/{delivery_id}/payload")
    assert removed["delivery_ids"] == [delivery_id]
    shown = await hooks.get(f"/deliveries/{delivery_id}")
    assert (shown["payload"], shown["attempts"][0]["response_body"]) == (None, None)
    refused = await hooks.call("POST", f"/deliveries/{delivery_id}/resend")
    assert refused.error == (409, "payload_removed")
    await hooks.delete("/endpoints/1")
    refused = await hooks.call("POST", f"/deliveries/{delivery_id}/resend")
    assert refused.error == (409, "endpoint_deleted")


async def test_it_is_explained_why_a_delivery_has_not_arrived(hooks: Hooks) -> None:
    await hooks.make()
    await hooks.ledger.happens(1)
    (claimed,) = (await hooks.ledger.claim()).deliveries
    await hooks.ledger.record(failed(claimed, again_in=3600, status_code=503))
    await hooks.post("/endpoints/1/pause")
    explained = await hooks.get(f"/deliveries/{claimed.id}/explain")

    assert explained["delivery"]["state"] == "held"
    assert [blocker["kind"] for blocker in explained["blockers"]] == ["endpoint_paused", "not_due"]
    assert explained["last_error"]["reason"] == "http_5xx"
    assert explained["last_error"]["advice"]
    assert explained["hold_expires_at"] is not None
    assert explained["summary"].startswith("Not delivered yet: its endpoint has been paused since ")


async def test_what_was_missed_is_pulled_by_its_sequence(hooks: Hooks) -> None:
    await hooks.make()
    await hooks.ledger.happens(3)

    first = await hooks.get("/events?limit=2")
    assert [event["sequence"] for event in first["events"]] == [1, 2]
    assert first["events"][0]["payload"] == {"it": "happened"}
    second = await hooks.get(f"/events?endpoint_id=1&after={first['after']}")
    assert [event["sequence"] for event in second["events"]] == [3]
    assert (second["after"], second["last"]) == (3, 3)


async def test_of_several_endpoints_one_is_to_be_named(hooks: Hooks) -> None:
    assert (await hooks.call("GET", "/events")).error == (404, "endpoint_not_found")
    await hooks.make()
    await hooks.make()
    assert (await hooks.call("GET", "/events")).error == (422, "missing_endpoint_id")
    assert (await hooks.get("/events?endpoint_id=2"))["endpoint_id"] == 2
    for after in ("-1", "x", "", "9223372036854775808"):
        assert (await hooks.call("GET", f"/events?after={after}")).error == (422, "invalid_after")
