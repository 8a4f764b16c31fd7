"""What the webhook dispatcher needs to know."""

from __future__ import annotations

from pydantic import Field

from mailement_common.settings import SecretSettings, ServiceSettings
from mailement_webhooks.settings import WebhookTargetSettings


class DispatcherSettings(ServiceSettings, SecretSettings, WebhookTargetSettings):
    webhook_concurrency: int = Field(default=100, ge=1, le=2000, description="POSTs under way per process.")
    webhook_endpoint_concurrency: int = Field(
        default=10, ge=1, le=200, description="POSTs under way per endpoint and process."
    )
