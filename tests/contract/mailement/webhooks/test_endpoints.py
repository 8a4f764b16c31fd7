"""Endpoints over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.mailement.webhooks.hooks import URL, Hooks


async def test_an_endpoint_is_made_and_its_secret_shown_once(hooks: Hooks) -> None:
    made = await hooks.post("/endpoints", {"url": URL, "description": "the shop"})

    assert set(made) == {"success", "endpoint", "secret"}
    assert made["secret"].startswith("whsec_")
    assert made["endpoint"]["url"] == URL
    assert made["endpoint"]["event_types"] == [
        "subscriber.confirmed",
        "subscriber.unsubscribed",
        "subscriber.bounced",
        "subscriber.complained",
    ]
    listed = await hooks.get("/endpoints")
    shown = await hooks.get(f"/endpoints/{made['endpoint']['id']}")
    assert listed["endpoints"] == [made["endpoint"]]
    assert made["secret"] not in str((listed, shown))


async def test_what_is_named_is_changed_and_null_takes_limits_away(hooks: Hooks) -> None:
    made = await hooks.make(description="shop", max_in_flight=3, rate_per_second=2)
    path = f"/endpoints/{made['id']}"

    changed = (await hooks.patch(path, {"ordered": True, "max_in_flight": None, "url": None}))["endpoint"]
    assert (changed["ordered"], changed["max_in_flight"], changed["url"]) == (True, None, URL)
    assert (changed["description"], changed["rate_per_second"]) == ("shop", 2.0)
    cleared = (await hooks.patch(path, {"description": None, "rate_per_second": None}))["endpoint"]
    assert (cleared["description"], cleared["rate_per_second"]) == (None, None)
    assert (await hooks.patch(path, {}))["endpoint"] == cleared


async def test_a_paused_endpoint_is_enabled_again(hooks: Hooks) -> None:
    path = f"/endpoints/{(await hooks.make())['id']}"

    paused = (await hooks.post(f"{path}/pause"))["endpoint"]
    assert (paused["state"], paused["state_reason"]) == ("paused", "by_operator")
    for body in (None, {}, {"drain": None}, {"drain": "discard"}):
        assert (await hooks.post(f"{path}/enable", body))["endpoint"]["state"] == "enabled"
    refused = await hooks.call("POST", f"{path}/enable", {"drain": "all"})
    assert refused.error == (422, "invalid_drain")


async def test_a_deleted_endpoint_is_gone(hooks: Hooks) -> None:
    path = f"/endpoints/{(await hooks.make())['id']}"

    await hooks.delete(path)
    assert (await hooks.get("/endpoints"))["endpoints"] == []
    for method, below in (
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/pause"),
        ("POST", "/enable"),
    ):
        answer = await hooks.call(method, path + below, {} if method == "PATCH" else None)
        assert answer.error == (404, "endpoint_not_found"), (method, below)


async def test_a_secret_is_rotated_step_by_step(hooks: Hooks) -> None:
    path = f"/endpoints/{(await hooks.make())['id']}"

    async def step(name: str) -> str:
        found: str = (await hooks.post(f"{path}/secret/{name}"))["endpoint"]["rotation"]["step"]
        return found

    assert [
        await step(name) for name in ("stage", "rollback", "stage", "promote", "rollback", "promote")
    ] == [
        "staged",
        "settled",
        "staged",
        "promoted",
        "staged",
        "promoted",
    ]
    shown = (await hooks.get(path))["endpoint"]
    assert shown["secrets"] == {
        "key_ids": ["test"],
        "attempts_since_promotion": 0,
        "refused_since_promotion": 0,
    }
    refused = await hooks.call("POST", f"{path}/secret/stage")
    assert (refused.error, refused.body["reason"]) == ((409, "wrong_rotation_step"), "promoted")
    assert await step("retire") == "settled"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"url": None}, "invalid_url"),
        ({"url": 1}, "invalid_url"),
        ({"url": ""}, "invalid_url"),
        ({"url": "ftp://receiver.example/"}, "invalid_url"),
        ({"url": "http://127.0.0.1/"}, "invalid_url"),
        ({"url": "http://[::ffff:169.254.169.254]/"}, "invalid_url"),
        ({"url": "http://localhost./"}, "invalid_url"),
        ({"url": "https://receiver.example/\x00"}, "invalid_url"),
        ({"url": "https://r.example/" + "x" * 3000}, "invalid_url"),
        ({"profile": "curated"}, "invalid_profile"),
        ({"profile": 1}, "invalid_profile"),
        ({"event_types": "subscriber.confirmed"}, "invalid_event_types"),
        ({"event_types": []}, "invalid_event_types"),
        ({"event_types": [1]}, "invalid_event_types"),
        ({"event_types": ["subscriber.created"]}, "invalid_event_types"),
        ({"event_types": ["subscriber.confirmed"] * 21}, "invalid_event_types"),
        ({"description": 1}, "invalid_description"),
        ({"description": "x" * 201}, "invalid_description"),
        ({"description": "a\x00"}, "invalid_description"),
        ({"retries": "never"}, "invalid_retries"),
        ({"retries": True}, "invalid_retries"),
        ({"ordered": "yes"}, "invalid_ordered"),
        ({"ordered": 1}, "invalid_ordered"),
        ({"max_in_flight": 0}, "invalid_max_in_flight"),
        ({"max_in_flight": 2**63 - 1}, "invalid_max_in_flight"),
        ({"max_in_flight": 1.0}, "invalid_max_in_flight"),
        ({"max_in_flight": True}, "invalid_max_in_flight"),
        ({"rate_per_second": 0}, "invalid_rate_per_second"),
        ({"rate_per_second": 1e-300}, "invalid_rate_per_second"),
        ({"rate_per_second": -1}, "invalid_rate_per_second"),
        ({"rate_per_second": 1e300}, "invalid_rate_per_second"),
        ({"rate_per_second": True}, "invalid_rate_per_second"),
        ({"rate_per_second": "1"}, "invalid_rate_per_second"),
    ],
)
async def test_a_wrong_value_is_refused_by_the_name_of_its_field(
    hooks: Hooks, given: dict[str, Any], code: str
) -> None:
    made = await hooks.make()
    answers = [await hooks.call("POST", "/endpoints", {"url": URL, **given})]
    if given.get("url", "") is not None and "profile" not in given:
        answers.append(await hooks.call("PATCH", f"/endpoints/{made['id']}", given))

    assert {answer.error for answer in answers} == {(422, code)}
    assert (await hooks.get("/endpoints"))["endpoints"] == [made]


async def test_what_a_url_is_refused_for_is_said(hooks: Hooks) -> None:
    refused = await hooks.call("POST", "/endpoints", {"url": "http://10.0.0.1/"})
    assert "10.0.0.1 is not a public address" in refused.body["reason"]


async def test_a_brand_has_so_many_endpoints_and_no_more(hooks: Hooks) -> None:
    await hooks.brand.pool.execute(
        "INSERT INTO webhook_endpoints (account_id, brand_id, url, secret_sealed, event_types) "
        "SELECT $1, $2, 'https://receiver.example/', '', '{}' FROM generate_series(1, 50)",
        hooks.ledger.account_id,
        hooks.ledger.brand_id,
    )
    assert (await hooks.call("POST", "/endpoints", {"url": URL})).error == (409, "too_many_endpoints")
