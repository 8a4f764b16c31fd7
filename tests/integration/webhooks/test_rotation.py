"""Secrets change in two phases, and the keys that seal them can be changed too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from mailement_common.sealing import KeyRing, new_key
from mailement_webhooks.endpoints import Endpoint
from mailement_webhooks.errors import EndpointNotFound, RotationStep, WrongRotationStep
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.rules.guard import Guard
from mailement_webhooks.secrets import rotation_step, secret_owner
from mailement_webhooks.usecases.create_endpoint import NewEndpoint, create_endpoint
from mailement_webhooks.usecases.promote_secret import promote_secret
from mailement_webhooks.usecases.reseal_secrets import reseal_secrets
from mailement_webhooks.usecases.retire_secret import retire_secret
from mailement_webhooks.usecases.rollback_secret import rollback_secret
from mailement_webhooks.usecases.set_endpoint import set_endpoint
from mailement_webhooks.usecases.show_endpoint import show_endpoint
from mailement_webhooks.usecases.stage_secret import stage_secret
from tests.support.database import Database
from tests.support.delivery_ledger import DeliveryLedger, delivered, failed

OLD_KEY, NEW_KEY = new_key("old"), new_key("new")
KEYS = KeyRing(OLD_KEY)

Step = Callable[[DeliveryLedger, EndpointId], Awaitable[Endpoint]]


async def _make(ledger: DeliveryLedger, keys: KeyRing = KEYS) -> tuple[EndpointId, str]:
    new = NewEndpoint(url="https://receiver.example/", brand_id=ledger.brand_id)
    endpoint, secret = await create_endpoint(ledger.pool, keys, new, guard=Guard())
    ledger.endpoints.append(endpoint.id)
    return endpoint.id, secret


async def _secrets(
    ledger: DeliveryLedger, endpoint_id: EndpointId, keys: KeyRing = KEYS
) -> dict[str, str | None]:
    row = await ledger.pool.fetchrow(
        "SELECT secret_sealed AS active, secret_staged_sealed AS staged, secret_previous_sealed AS previous "
        "FROM webhook_endpoints WHERE id = $1",
        endpoint_id,
    )
    assert row is not None
    owner = secret_owner(endpoint_id)
    return {name: None if text is None else keys.open(text, owner=owner) for name, text in row.items()}


async def _stage(ledger: DeliveryLedger, endpoint_id: EndpointId) -> Endpoint:
    return (await stage_secret(ledger.pool, KEYS, endpoint_id))[0]


async def _promote(ledger: DeliveryLedger, endpoint_id: EndpointId) -> Endpoint:
    return await promote_secret(ledger.pool, endpoint_id)


async def _retire(ledger: DeliveryLedger, endpoint_id: EndpointId) -> Endpoint:
    return await retire_secret(ledger.pool, endpoint_id)


async def _roll_back(ledger: DeliveryLedger, endpoint_id: EndpointId) -> Endpoint:
    return await rollback_secret(ledger.pool, endpoint_id)


async def test_a_secret_is_staged_then_promoted_then_the_old_one_retired(ledger: DeliveryLedger) -> None:
    endpoint_id, old = await _make(ledger)

    staged, new = await stage_secret(ledger.pool, KEYS, endpoint_id)
    assert rotation_step(staged) is RotationStep.STAGED
    assert await _secrets(ledger, endpoint_id) == {"active": old, "staged": new, "previous": None}

    assert rotation_step(await _promote(ledger, endpoint_id)) is RotationStep.PROMOTED
    assert await _secrets(ledger, endpoint_id) == {"active": new, "staged": None, "previous": old}

    assert rotation_step(await _retire(ledger, endpoint_id)) is RotationStep.SETTLED
    assert await _secrets(ledger, endpoint_id) == {"active": new, "staged": None, "previous": None}


async def test_before_the_promotion_rolling_back_drops_what_is_staged(ledger: DeliveryLedger) -> None:
    endpoint_id, old = await _make(ledger)
    await _stage(ledger, endpoint_id)

    assert rotation_step(await _roll_back(ledger, endpoint_id)) is RotationStep.SETTLED
    assert await _secrets(ledger, endpoint_id) == {"active": old, "staged": None, "previous": None}


async def test_after_the_promotion_rolling_back_puts_the_old_one_back(ledger: DeliveryLedger) -> None:
    endpoint_id, old = await _make(ledger)
    _, new = await stage_secret(ledger.pool, KEYS, endpoint_id)
    await _promote(ledger, endpoint_id)

    assert rotation_step(await _roll_back(ledger, endpoint_id)) is RotationStep.STAGED
    assert await _secrets(ledger, endpoint_id) == {"active": old, "staged": new, "previous": None}


@pytest.mark.parametrize(
    ("before", "step", "stands_at"),
    [
        ([], _promote, RotationStep.SETTLED),
        ([], _retire, RotationStep.SETTLED),
        ([], _roll_back, RotationStep.SETTLED),
        ([_stage], _stage, RotationStep.STAGED),
        ([_stage], _retire, RotationStep.STAGED),
        ([_stage, _promote], _stage, RotationStep.PROMOTED),
        ([_stage, _promote], _promote, RotationStep.PROMOTED),
        ([_stage, _promote, _retire], _roll_back, RotationStep.SETTLED),
    ],
)
async def test_a_step_that_does_not_fit_is_refused_and_changes_nothing(
    ledger: DeliveryLedger, before: list[Step], step: Step, stands_at: RotationStep
) -> None:
    endpoint_id, _ = await _make(ledger)
    for earlier in before:
        await earlier(ledger, endpoint_id)
    secrets = await _secrets(ledger, endpoint_id)

    with pytest.raises(WrongRotationStep) as refused:
        await step(ledger, endpoint_id)
    assert refused.value.step is stands_at
    assert await _secrets(ledger, endpoint_id) == secrets


async def test_of_operators_who_stage_at_once_one_has_the_secret(ledger: DeliveryLedger) -> None:
    endpoint_id, _ = await _make(ledger)
    results = await asyncio.gather(
        *(stage_secret(ledger.pool, KEYS, endpoint_id) for _ in range(5)), return_exceptions=True
    )

    (won,) = (result for result in results if not isinstance(result, BaseException))
    assert (await _secrets(ledger, endpoint_id))["staged"] == won[1]


async def test_setting_the_url_again_ends_a_rotation(ledger: DeliveryLedger) -> None:
    endpoint_id, _ = await _make(ledger)
    await _stage(ledger, endpoint_id)
    async with ledger.pool.acquire() as connection:
        endpoint, secret = await set_endpoint(
            connection, KEYS, ledger.brand_id, ledger.account_id, "https://receiver.example/", guard=Guard()
        )

    assert (endpoint.id, rotation_step(endpoint)) == (endpoint_id, RotationStep.SETTLED)
    assert await _secrets(ledger, endpoint_id) == {"active": secret, "staged": None, "previous": None}


async def test_a_brand_rotates_no_secret_of_another(ledger: DeliveryLedger, database: Database) -> None:
    other = await DeliveryLedger.create(database, slug="other")
    endpoint_id, _ = await _make(other)
    for deed in (
        stage_secret(ledger.pool, KEYS, endpoint_id, brand_id=ledger.brand_id),
        promote_secret(ledger.pool, endpoint_id, brand_id=ledger.brand_id),
        retire_secret(ledger.pool, endpoint_id, brand_id=ledger.brand_id),
        rollback_secret(ledger.pool, endpoint_id, brand_id=ledger.brand_id),
    ):
        with pytest.raises(EndpointNotFound):
            await deed
    assert (await _secrets(other, endpoint_id))["staged"] is None


async def test_refusals_since_the_promotion_tell_of_a_receiver_with_the_old_secret(
    ledger: DeliveryLedger,
) -> None:
    endpoint_id, _ = await _make(ledger)
    await ledger.happens(4)
    before, *after = (await ledger.claim()).deliveries
    await ledger.record(failed(before, status_code=401))
    await _stage(ledger, endpoint_id)
    await _promote(ledger, endpoint_id)
    at = await ledger.pool.fetchval("SELECT now()")
    await ledger.record(
        failed(after[0], status_code=401, started_at=at),
        failed(after[1], status_code=403, started_at=at),
        delivered(after[2], started_at=at),
    )

    secrets = (await show_endpoint(ledger.pool, endpoint_id)).secrets
    assert (secrets.attempts_since_promotion, secrets.refused_since_promotion) == (3, 2)
    assert (secrets.step, secrets.key_ids) == (RotationStep.PROMOTED, ("old",))


async def test_resealing_moves_every_secret_to_the_first_key(ledger: DeliveryLedger) -> None:
    made = [await _make(ledger) for _ in range(3)]
    await _stage(ledger, made[0][0])
    await _stage(ledger, made[1][0])
    await _promote(ledger, made[1][0])
    before = [await _secrets(ledger, endpoint_id) for endpoint_id, _ in made]

    done = await reseal_secrets(ledger.pool, KeyRing(f"{NEW_KEY},{OLD_KEY}"))

    assert (done.secrets, done.endpoints, done.unreadable) == (5, 3, ())
    only_new = KeyRing(NEW_KEY)
    assert [await _secrets(ledger, endpoint_id, only_new) for endpoint_id, _ in made] == before
    assert (await reseal_secrets(ledger.pool, only_new)).secrets == 0


async def test_what_cannot_be_opened_is_told_and_left_as_it_is(ledger: DeliveryLedger) -> None:
    lost_keys = KeyRing(new_key("lost"))
    lost, secret = await _make(ledger, lost_keys)
    kept, _ = await _make(ledger)

    done = await reseal_secrets(ledger.pool, KeyRing(f"{NEW_KEY},{OLD_KEY}"))

    assert (done.secrets, done.unreadable) == (1, (lost,))
    assert (await _secrets(ledger, lost, lost_keys))["active"] == secret
    assert (await show_endpoint(ledger.pool, kept)).secrets.key_ids == ("new",)


async def test_resealing_beside_a_rotation_loses_no_secret(ledger: DeliveryLedger) -> None:
    ring = KeyRing(f"{NEW_KEY},{OLD_KEY}")
    made = [await _make(ledger) for _ in range(20)]
    staged = [await stage_secret(ledger.pool, KEYS, endpoint_id) for endpoint_id, _ in made]

    await asyncio.gather(
        reseal_secrets(ledger.pool, ring),
        *(promote_secret(ledger.pool, endpoint_id) for endpoint_id, _ in made),
    )

    for (endpoint_id, old), (_, new) in zip(made, staged, strict=True):
        assert await _secrets(ledger, endpoint_id, ring) == {"active": new, "staged": None, "previous": old}
