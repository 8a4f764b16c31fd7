"""What the webhook dispatcher needs to know."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from mailement_common.settings import SecretSettings, ServiceSettings
from mailement_webhooks.settings import WebhookTargetSettings, WebhookWaitSettings


class DispatcherSettings(ServiceSettings, SecretSettings, WebhookTargetSettings, WebhookWaitSettings):
    webhook_concurrency: int = Field(default=100, ge=1, le=2000, description="POSTs under way per process.")
    webhook_endpoint_concurrency: int = Field(
        default=10, ge=1, le=200, description="POSTs under way per endpoint that has no limit of its own."
    )
    webhook_brand_concurrency: int = Field(
        default=20, ge=1, le=1000, description="POSTs under way per brand, over all its endpoints."
    )
    webhook_ledger_days: int = Field(
        default=90,
        ge=30,
        le=3650,
        description="Days that deliveries and their attempts are kept, in whole months.",
    )
    webhook_payload_days: int = Field(
        default=30,
        ge=14,
        le=3650,
        description="Days that what was sent is kept, in whole months; at most those of the ledger.",
    )

    @model_validator(mode="after")
    def _payloads_go_first(self) -> Self:
        if self.webhook_payload_days > self.webhook_ledger_days:
            raise ValueError("MAILEMENT_WEBHOOK_PAYLOAD_DAYS exceeds MAILEMENT_WEBHOOK_LEDGER_DAYS")
        return self
