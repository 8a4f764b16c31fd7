"""A brand to play with: a key, a topic, a field, a welcome drip and a webhook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mailement_cli.drip_file import read_drip
from mailement_common.db.pool import Connection
from mailement_common.sealing import KeyRing
from mailement_newsletter.catalog.accounts import create_account, list_accounts
from mailement_newsletter.catalog.brands import Brand, create_brand
from mailement_newsletter.catalog.fields import create_field
from mailement_newsletter.catalog.keys import create_key
from mailement_newsletter.catalog.topics import create_topic
from mailement_newsletter.rules.lifecycle import OptInMode
from mailement_newsletter.usecases.create_drip import create_drip
from mailement_webhooks.rules.guard import Guard
from mailement_webhooks.usecases.set_endpoint import set_endpoint

_WELCOME: Final = """
name: Welcome
trigger: subscriber_confirmed
steps:
  - delay: 0
    subject: "Welcome to {{ brand.name }}{% if first_name %}, {{ first_name }}{% endif %}"
    html: |
      <h1>Welcome{% if first_name %}, {{ first_name }}{% endif %}!</h1>
      <p>You have signed up for {{ brand.name }} with {{ email }}.</p>
      <p><a href="{{ unsubscribe_url }}">Unsubscribe</a></p>
  - delay: 2 days
    subject: What to read first
    text: |
      Here is what other readers liked most.

      Unsubscribe: {{ unsubscribe_url }}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoBrand:
    """`key` and `secret` can be read nowhere else."""

    brand: Brand
    key: str
    drip_id: int
    topic_id: int
    secret: str


async def make_demo_brand(
    connection: Connection, keys: KeyRing, guard: Guard, *, slug: str, webhook_url: str
) -> DemoBrand:
    """Raises AlreadyExists, UrlRefused."""
    async with connection.transaction():
        accounts = await list_accounts(connection)
        account = (
            accounts[0]
            if accounts
            else await create_account(connection, slug="default", name="Default account")
        )
        brand = await create_brand(
            connection, account_id=account.id, slug=slug, name="The Demo Letter", opt_in=OptInMode.SINGLE
        )
        key = await create_key(connection, brand, name="demo")
        topic = await create_topic(
            connection, brand.id, slug="weekly-digest", name="Weekly digest", is_public=True
        )
        await create_topic(connection, brand.id, slug="deep-dives", name="Deep dives", is_public=True)
        await create_field(connection, brand.id, key="favorite_genre", name="Favourite genre")
        drip = await create_drip(connection, brand.id, read_drip(_WELCOME))
        _, secret = await set_endpoint(connection, keys, brand.id, account.id, webhook_url, guard=guard)
    return DemoBrand(brand=brand, key=key.key, drip_id=drip.id, topic_id=topic.id, secret=secret)
