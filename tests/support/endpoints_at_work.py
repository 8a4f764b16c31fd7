"""Endpoints as a dispatcher has them in memory, made from values."""

from __future__ import annotations

from datetime import UTC, datetime

from mailement_common.ids import AccountId, BrandId
from mailement_common.sealing import KeyRing, new_key
from mailement_webhook_dispatcher.workload import Group, Workload
from mailement_webhooks.endpoints import Endpoint, EndpointState, Profile, RetryMode
from mailement_webhooks.ids import EndpointId, Shard
from mailement_webhooks.rules.health import Health
from mailement_webhooks.secrets import secret_owner
from mailement_webhooks.usecases.load_endpoints import EndpointAtWork

NOW = datetime(2026, 5, 19, 17, 42, tzinfo=UTC)
KEYS = KeyRing(new_key("unit"))


def loaded(
    number: int = 1,
    *,
    brand: int | None = 1,
    health: Health | None = None,
    state: EndpointState = EndpointState.ENABLED,
    retries: RetryMode = RetryMode.SCHEDULE,
    max_in_flight: int | None = None,
    rate_per_second: float | None = None,
) -> EndpointAtWork:
    endpoint_id = EndpointId(number)
    return EndpointAtWork(
        endpoint=Endpoint(
            id=endpoint_id,
            account_id=AccountId(1),
            brand_id=None if brand is None else BrandId(brand),
            profile=Profile.MAILEMENT,
            url="https://receiver.example/hook?token=hidden",
            description=None,
            event_types=("subscriber.confirmed",),
            state=state,
            state_reason=None,
            state_changed_at=NOW,
            retries=retries,
            ordered=False,
            max_in_flight=max_in_flight,
            rate_per_second=rate_per_second,
            secret_staged_at=None,
            secret_promoted_at=None,
            version=1,
            created_at=NOW,
            updated_at=NOW,
        ),
        shard=Shard((brand or 1) % 64),
        secret_sealed=KEYS.seal("whsec_c2VjcmV0", owner=secret_owner(endpoint_id)),
        secret_staged_sealed=None,
        secret_previous_sealed=None,
        health=health or Health(),
    )


def workload(
    at_work: EndpointAtWork | None = None,
    group: Group | None = None,
    *,
    cap: int = 10,
    warm: bool = True,
    in_flight: int = 0,
) -> Workload:
    """`warm`: it has been found to take as many as it may have."""
    made = Workload(at_work or loaded(), group or Group("brand", cap=20), KEYS, endpoint_cap=cap, at=0.0)
    if warm:
        made.limit.limit = made.cap
    for _ in range(in_flight):
        made.begin(replay=False)
    return made
