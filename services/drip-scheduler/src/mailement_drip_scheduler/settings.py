"""Settings of the drip scheduler."""

from __future__ import annotations

from pydantic import Field

from mailement_common.settings import ServiceSettings


class SchedulerSettings(ServiceSettings):
    drip_batch: int = Field(
        default=1000, ge=1, le=5000, description="Due steps that the drip scheduler takes in one transaction."
    )
    drip_concurrency: int = Field(
        default=2, ge=1, le=8, description="Batches at the same time; each serves its share of the drips."
    )
    drip_history_days: int = Field(
        default=365,
        ge=1,
        description="How long conditions, skips and topic changes of runs can be looked up.",
    )
