"""Replays over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from mailement_webhooks.usecases.advance_replays import advance_replays
from tests.contract.mailement.webhooks.hooks import Hooks
from tests.support.delivery_ledger import ALL_SHARDS, delivered, failed


async def _past(hooks: Hooks) -> None:
    """Three delivered and one failed."""
    await hooks.make()
    await hooks.ledger.happens(4)
    first, *others = (await hooks.ledger.claim()).deliveries
    await hooks.ledger.record(failed(first), *(delivered(each) for each in others))


async def test_a_dry_run_tells_how_many_and_starts_nothing(hooks: Hooks) -> None:
    await _past(hooks)

    told = await hooks.post("/replays", {"outcomes": ["failed"], "dry_run": True})
    assert told == {"success": True, "dry_run": True, "total": 1, "total_is_exact": True}
    assert (await hooks.get("/replays"))["replays"] == []


async def test_a_replay_is_started_watched_and_changed(hooks: Hooks) -> None:
    await _past(hooks)

    started = (await hooks.post("/replays", {"endpoint_id": 1, "from": "2020-01-01", "rate_per_second": 2}))[
        "replay"
    ]
    path = f"/replays/{started['id']}"
    assert (started["state"], started["total"], started["enqueued"], started["seconds_left"]) == (
        "running",
        4,
        0,
        2,
    )
    assert started["from"] == "2020-01-01T00:00:00.000+00:00"
    assert (await hooks.post(f"{path}/pause"))["replay"]["state"] == "paused"
    assert (await hooks.patch(path, {"rate_per_second": 0.5}))["replay"]["rate_per_second"] == 0.5
    assert (await hooks.post(f"{path}/resume"))["replay"]["state"] == "running"
    cancelled = (await hooks.post(f"{path}/cancel"))["replay"]
    assert (cancelled["state"], cancelled["seconds_left"]) == ("cancelled", None)
    assert (await hooks.get(path))["replay"] == cancelled
    for below in ("pause", "resume", "cancel"):
        assert (await hooks.call("POST", f"{path}/{below}")).error == (409, "replay_has_ended")


async def test_replays_are_listed_in_pages(hooks: Hooks) -> None:
    await _past(hooks)
    ids = [(await hooks.post("/replays"))["replay"]["id"] for _ in range(3)]

    first = await hooks.get("/replays?limit=2")
    second = await hooks.get(f"/replays?limit=2&cursor={first['cursor']}&endpoint_id=1")
    assert [replay["id"] for replay in (*first["replays"], *second["replays"])] == ids[::-1]
    assert second["cursor"] is None
    assert (await hooks.call("GET", "/replays?cursor=x")).error == (422, "invalid_cursor")


async def test_an_endpoint_has_so_many_replays_at_work_and_no_more(hooks: Hooks) -> None:
    await _past(hooks)
    *_, last = [(await hooks.post("/replays"))["replay"]["id"] for _ in range(20)]
    assert (await hooks.call("POST", "/replays")).error == (409, "too_many_replays")

    await hooks.post(f"/replays/{last}/cancel")
    await advance_replays(hooks.ledger.pool, shards=ALL_SHARDS, seconds=1)
    assert (await hooks.call("POST", "/replays")).status == 200


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"endpoint_id": 404}, (404, "endpoint_not_found")),
        ({"endpoint_id": "1"}, (422, "invalid_endpoint_id")),
        ({"types": []}, (422, "invalid_types")),
        ({"types": ["x"]}, (422, "invalid_types")),
        ({"outcomes": ["pending"]}, (422, "invalid_outcomes")),
        ({"outcomes": "failed"}, (422, "invalid_outcomes")),
        ({"from": "soon"}, (422, "invalid_from")),
        ({"from": 1}, (422, "invalid_from")),
        ({"from": "2026-01-02", "until": "2026-01-01"}, (422, "invalid_until")),
        ({"rate_per_second": 0}, (422, "invalid_rate_per_second")),
        ({"rate_per_second": 1e-300}, (422, "invalid_rate_per_second")),
        ({"rate_per_second": 1e9}, (422, "invalid_rate_per_second")),
        ({"dry_run": "yes"}, (422, "invalid_dry_run")),
    ],
)
async def test_a_wrong_value_is_refused_and_starts_nothing(
    hooks: Hooks, given: dict[str, Any], error: tuple[int, str]
) -> None:
    await _past(hooks)
    assert (await hooks.call("POST", "/replays", given)).error == error
    assert (await hooks.get("/replays"))["replays"] == []
