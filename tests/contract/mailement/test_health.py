"""What supervisors ask: is the process alive, and can it work?"""

from __future__ import annotations

from tests.support.api import ApiUnderTest, running_service, unused_port
from tests.support.brands import READER, Tenant
from tests.support.database import Database


async def test_a_live_process_says_so(api: ApiUnderTest) -> None:
    answer = await api.request("GET", "/healthz")
    assert (answer.status, answer.body) == (200, {"ok": True})
    assert answer.headers["Content-Type"] == "application/json"


async def test_a_ready_process_names_what_it_needs(api: ApiUnderTest) -> None:
    answer = await api.request("GET", "/readyz")
    assert (answer.status, answer.body) == (
        200,
        {
            "ready": True,
            "checks": {
                "database": {"ok": True, "required": True},
                "schema": {"ok": True, "required": True},
                "draining": False,
            },
        },
    )


async def test_a_database_that_lacks_migrations_is_not_ready(api: ApiUnderTest, brand: Tenant) -> None:
    await brand.pool.execute("DELETE FROM schema_migrations WHERE number = 1")
    answer = await api.request("GET", "/readyz")
    assert (answer.status, answer.body["ready"]) == (503, False)
    assert answer.body["checks"]["schema"]["ok"] is False
    assert "mailement migrate" in answer.body["checks"]["schema"]["detail"]


async def test_a_database_that_is_ahead_of_this_build_is_ready(api: ApiUnderTest, brand: Tenant) -> None:
    await brand.pool.execute(
        "INSERT INTO schema_migrations (number, name, checksum) VALUES (9999, 'next', 'x')"
    )
    assert (await api.request("GET", "/readyz")).status == 200


async def test_a_draining_process_takes_no_more_work_but_lives(api: ApiUnderTest) -> None:
    api.health.draining = True
    ready, live = await api.request("GET", "/readyz"), await api.request("GET", "/healthz")
    assert (ready.status, ready.body["ready"], ready.body["checks"]["draining"]) == (503, False, True)
    assert live.status == 200


async def test_without_the_database_it_lives_but_is_not_ready() -> None:
    async with running_service(f"postgresql://nobody@127.0.0.1:{unused_port()}/nothing") as service:
        ready, live = await service.request("GET", "/readyz"), await service.request("GET", "/healthz")
    assert (ready.status, live.status) == (503, 200)
    assert (ready.body["checks"]["database"]["ok"], ready.body["checks"]["schema"]["ok"]) == (False, False)


async def test_it_is_ready_without_the_broker_and_takes_signups(database: Database, brand: Tenant) -> None:
    async with running_service(database.url) as service:
        ready = await service.request("GET", "/readyz")
        signed_up = await service.post("/api/v1/subscribe", {"email": READER}, key=brand.key)
    assert (ready.status, signed_up.status) == (200, 200)
    assert ready.body["checks"]["broker"] == {"ok": False, "required": False, "detail": "not connected"}
    assert await brand.event_types() == ["subscriber.confirmed"]
