"""A brand's drips over HTTP, with a key that may change them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

from hypothesis import strategies as st
from typing_extensions import override

from mailement_api.dialects.mailement.drips.requests import DripBody
from mailement_api.dialects.mailement.drips.routes import MAX_DEFINITION_BYTES
from mailement_common.ids import SubscriberId
from mailement_newsletter.catalog.keys import create_key
from mailement_newsletter.commands import ById, Enroll
from mailement_newsletter.rules.scopes import KeyScope
from mailement_newsletter.usecases.enroll import enroll
from tests.contract.mailement.surface import Caller, Surface
from tests.support.api import ApiUnderTest
from tests.support.brands import READER, Tenant

MAIL = {"label": "hello", "subject": "Hello", "text": "Hello."}
LATER = {"label": "later", "delay": "1 day", "subject": "Later", "text": "Hello."}
DRIP = {"name": "Course", "steps": [MAIL, LATER]}
EVENT = {"email": READER, "event": "order.paid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Drips(Caller):
    """With a key of every scope."""

    @classmethod
    @override
    async def of(cls, api: ApiUnderTest, brand: Tenant) -> Self:
        async with brand.pool.acquire() as connection:
            made = await create_key(connection, brand.brand, name="drips", scopes=list(KeyScope))
        return cls(api=api, brand=brand, key=made.key)

    async def make(self, **given: object) -> Any:
        return (await self.post("/drips", {**DRIP, **given}))["drip"]

    async def put_in(self, drip: int, email: str = READER) -> SubscriberId:
        subscriber = await self.brand.subscriber(email)
        await enroll(
            self.brand.pool,
            Enroll(brand_id=self.brand.id, drip_id=drip, who=ById(subscriber_id=subscriber)),
        )
        return subscriber

    async def run_id(self) -> int:
        return int((await self.brand.enrollments())[-1]["id"])

    @override
    async def furnish(self, path: str = "") -> Mapping[str, int]:
        """A drip with somebody in it."""
        drip = (await self.make(name="Furnished"))["id"]
        await self.put_in(drip)
        return {"drips": drip, "runs": await self.run_id()}

    @override
    async def whisper(self) -> Sequence[str]:
        drip = await self.make(name="geheim", steps=[{"subject": "geheim", "text": "geheim"}])
        await self.call("GET", f"/drips/{drip['id']}/simulate?subscriber=geheim%40example.com")
        await self.call("GET", f"/drips/{drip['id']}/simulate?field.first_name=geheim")
        await self.call("POST", "/events", {"id": "geheim", "email": "geheim@example.com", "event": "geheim"})
        return []


_KEYS = [
    *("id", "label", "delay", "subject", "html", "text", "wait_until", "condition", "add_topic", "webhook"),
    *("remove_topic", "exit", "if", "then", "otherwise", "all", "any", "not", "always", "topic", "opened"),
    *("clicked", "field", "exists", "is", "in", "above", "contains", "date", "weekdays", "time", "from"),
    *("to", "days", "topics"),
]
_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["0", "1 day", "09:00", "2027-01-31", "mon", "{{ email }}", "{% if", "exit", "order.paid"]
    )
)

DRIPS = Surface(
    name="drips",
    caller=Drips,
    methods={
        "/drips": ("GET", "POST"),
        "/drips/{id}": ("GET", "PATCH", "PUT"),
        "/drips/{id}/preview": ("POST",),
        "/drips/{id}/pause": ("POST",),
        "/drips/{id}/resume": ("POST",),
        "/drips/{id}/archive": ("POST",),
        "/drips/{id}/retry": ("POST",),
        "/drips/{id}/runs": ("GET",),
        "/drips/{id}/stats": ("GET",),
        "/drips/{id}/simulate": ("GET",),
        "/runs": ("GET",),
        "/runs/{id}": ("GET",),
        "/runs/{id}/explain": ("GET",),
        "/runs/{id}/exit": ("POST",),
        "/events": ("POST",),
    },
    bodies={
        ("POST", "/drips"): DRIP,
        ("PUT", "/drips/{id}"): DRIP,
        ("PATCH", "/drips/{id}"): {"max_per_hour": 60},
        ("POST", "/drips/{id}/preview"): {"max_per_hour": 60},
        ("POST", "/events"): EVENT,
    },
    queries={"/runs": f"?subscriber={quote(READER)}"},
    most_bytes=dict.fromkeys(("/drips", "/drips/{id}", "/drips/{id}/preview"), MAX_DEFINITION_BYTES),
    tables=("drips", "drip_steps", "drip_enrollments", "drip_jobs", "outbox", "reported_events"),
    noted="drip_id",
    fields=(*DripBody.model_fields, "email", "subscriber_id", "id", "event", "properties", "dry_run"),
    values=st.recursive(
        _LEAVES,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4)
        ),
        max_leaves=12,
    ),
    parameters=(
        *("state", "cursor", "limit", "subscriber", "from", "topics", "field.plan", "field.first_name"),
        "replace",
    ),
)
