"""The statement of signing up takes many at once; each is treated as if it came alone."""

from __future__ import annotations

from typing import Any

from mailement_newsletter.rules.lifecycle import OptInMode
from mailement_newsletter.usecases.subscribe import SQL
from tests.support.brands import MakeTenant, Tenant


def _asked(seq: int, brand: Tenant, email: str, **more: Any) -> dict[str, Any]:
    return {"seq": seq, "brand_id": brand.id, "email": email, "email_key": email, "source": "api", **more}


async def test_each_of_a_batch_gets_its_own_answer(make_brand: MakeTenant) -> None:
    one, other = await make_brand(), await make_brand(opt_in=OptInMode.DOUBLE)
    await one.subscriber("unchanged@example.com")
    await one.subscriber("filled@example.com")
    rows = await one.pool.fetch(
        SQL["subscribe"],
        [
            _asked(0, one, "new@example.com", tags=["typo"]),
            _asked(1, one, "unchanged@example.com"),
            _asked(2, one, "filled@example.com", first_name="Maria"),
            _asked(3, other, "new@example.com"),
        ],
    )
    answers = [
        (row["seq"], row["status"], row["created"], row["changed"], row["unknown_tags"])
        for row in sorted(rows, key=lambda row: row["seq"])
    ]
    assert answers == [
        (0, "confirmed", True, True, ["typo"]),
        (1, "confirmed", False, False, []),
        (2, "confirmed", False, True, []),
        (3, "pending", True, True, []),
    ]


async def test_each_change_of_a_batch_has_its_event(make_brand: MakeTenant) -> None:
    one, other = await make_brand(), await make_brand(opt_in=OptInMode.DOUBLE)
    await one.pool.fetch(
        SQL["subscribe"],
        [
            _asked(0, one, "a@example.com", traceparent="a"),
            _asked(1, other, "a@example.com", traceparent="b"),
            _asked(2, one, "c@example.com", traceparent="c"),
        ],
    )
    events = [
        (
            event["type"],
            event["data"]["brand_slug"],
            event["data"]["subscriber"]["email"],
            event["traceparent"],
        )
        for event in sorted(
            [*await one.events(), *await other.events()], key=lambda event: event["traceparent"]
        )
    ]
    assert events == [
        ("subscriber.confirmed", one.slug, "a@example.com", "a"),
        ("subscriber.pending", other.slug, "a@example.com", "b"),
        ("subscriber.confirmed", one.slug, "c@example.com", "c"),
    ]


async def test_a_deleted_or_unknown_brand_gets_no_answer(make_brand: MakeTenant) -> None:
    brand = await make_brand()
    await brand.pool.execute("UPDATE brands SET deleted_at = now() WHERE id = $1", brand.id)
    rows = await brand.pool.fetch(SQL["subscribe"], [_asked(0, brand, "a@example.com")])
    assert (rows, await brand.subscribers()) == ([], 0)
