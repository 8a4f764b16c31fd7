"""Settings of webhooks that more than one program needs."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from mailement_common.settings import EnvSettings
from mailement_webhooks.rules.guard import Network, parse_networks


def _networks(value: object) -> object:
    return parse_networks(value) if isinstance(value, str) else value


class WebhookTargetSettings(EnvSettings):
    webhook_allow_cidrs: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)] = Field(
        default=(),
        description="Networks that webhooks may reach although they are not public, comma separated "
        "(`127.0.0.0/8,10.1.0.0/16`).",
    )


class WebhookWaitSettings(EnvSettings):
    webhook_order_seconds: float = Field(
        default=600,
        ge=1,
        le=86_400,
        description="Longest that an event waits for an earlier one of its subscriber, where an endpoint asks for order.",
    )
    webhook_hold_days: int = Field(
        default=7,
        ge=1,
        le=90,
        description="Days that deliveries for a paused or disabled endpoint are held before they are discarded.",
    )
