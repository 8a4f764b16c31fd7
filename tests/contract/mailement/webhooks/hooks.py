"""A brand's webhooks over HTTP, with a ledger behind them that is worked by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from hypothesis import strategies as st
from typing_extensions import override

from tests.contract.mailement.surface import API, Caller, Surface
from tests.support.api import ApiUnderTest
from tests.support.brands import Tenant
from tests.support.delivery_ledger import DeliveryLedger, failed

URL = "https://receiver.example/hook"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks(Caller):
    """Paths are below `/api/v1/webhooks`, the key is the brand's."""

    BASE: ClassVar[str] = f"{API}/webhooks"

    ledger: DeliveryLedger

    @classmethod
    @override
    async def of(cls, api: ApiUnderTest, brand: Tenant) -> Self:
        ledger = DeliveryLedger(pool=brand.pool, account_id=brand.brand.account_id, brand_id=brand.id)
        return cls(api=api, brand=brand, key=brand.key, ledger=ledger)

    async def make(self, **given: object) -> Any:
        """An endpoint that is made over HTTP; the ledger knows it too."""
        made = (await self.post("/endpoints", {"url": URL, **given}))["endpoint"]
        self.ledger.endpoints.append(made["id"])
        return made

    @override
    async def furnish(self, path: str = "") -> Mapping[str, int]:
        endpoint = await self.make()
        await self.ledger.happens(1)
        (claimed,) = (await self.ledger.claim()).deliveries
        await self.ledger.record(failed(claimed))
        replay = (await self.post("/replays"))["replay"]
        if path.endswith(("promote", "rollback", "retire")):
            await self.post("/endpoints/1/secret/stage")
        if path.endswith("retire"):
            await self.post("/endpoints/1/secret/promote")
        return {"endpoints": endpoint["id"], "deliveries": claimed.id, "replays": replay["id"]}

    @override
    async def whisper(self) -> Sequence[str]:
        made = await self.post("/endpoints", {"url": f"{URL}?token=geheim"})
        staged = await self.post("/endpoints/1/secret/stage")
        await self.patch("/endpoints/1", {"url": f"{URL}/geheim"})
        await self.call("POST", "/endpoints", {"url": "http://geheim:geheim@receiver.example/"})
        await self.call("GET", "/deliveries?cursor=geheim")
        return ["receiver.example", made["secret"], staged["secret"]]


WEBHOOKS = Surface(
    name="webhooks",
    caller=Hooks,
    methods={
        "/webhooks/endpoints": ("GET", "POST"),
        "/webhooks/endpoints/{id}": ("DELETE", "GET", "PATCH"),
        "/webhooks/endpoints/{id}/pause": ("POST",),
        "/webhooks/endpoints/{id}/enable": ("POST",),
        "/webhooks/endpoints/{id}/secret/stage": ("POST",),
        "/webhooks/endpoints/{id}/secret/promote": ("POST",),
        "/webhooks/endpoints/{id}/secret/retire": ("POST",),
        "/webhooks/endpoints/{id}/secret/rollback": ("POST",),
        "/webhooks/deliveries": ("GET",),
        "/webhooks/deliveries/{id}": ("GET",),
        "/webhooks/deliveries/{id}/resend": ("POST",),
        "/webhooks/deliveries/{id}/explain": ("GET",),
        "/webhooks/deliveries/{id}/payload": ("DELETE",),
        "/webhooks/events": ("GET",),
        "/webhooks/replays": ("GET", "POST"),
        "/webhooks/replays/{id}": ("GET", "PATCH"),
        "/webhooks/replays/{id}/pause": ("POST",),
        "/webhooks/replays/{id}/resume": ("POST",),
        "/webhooks/replays/{id}/cancel": ("POST",),
    },
    bodies={
        ("POST", "/webhooks/endpoints"): {"url": URL},
        ("PATCH", "/webhooks/replays/{id}"): {"rate_per_second": 1},
    },
    tables=("webhook_endpoints", "webhook_replays", "deliveries", "delivery_queue", "delivery_payloads"),
    noted="endpoint_id",
    fields=(
        *("url", "profile", "event_types", "description", "retries", "ordered", "max_in_flight"),
        *("rate_per_second", "drain", "endpoint_id", "types", "outcomes", "from", "until", "dry_run"),
    ),
    values=st.recursive(
        st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ),
    parameters=("state", "endpoint_id", "type", "from", "until", "cursor", "limit", "after"),
)
