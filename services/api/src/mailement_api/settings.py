"""Settings of the api."""

from __future__ import annotations

from pydantic import Field

from mailement_common.settings import Port, PublicSettings, SecretSettings, ServiceSettings
from mailement_webhooks.settings import WebhookTargetSettings, WebhookWaitSettings


class ApiSettings(
    ServiceSettings, PublicSettings, SecretSettings, WebhookTargetSettings, WebhookWaitSettings
):
    http_host: str = Field(default="127.0.0.1", description="Where the api listens.")
    http_port: Port = Field(default=8080, description="Its port; 0 picks a free one.")
    max_body_bytes: int = Field(
        default=65_536, ge=1024, le=16_777_216, description="Larger request bodies are answered with 413."
    )
    relay_in_api: bool = Field(
        default=True, description="Whether the api hands the outbox to the broker itself."
    )
