"""Services whose statements work on batches have them planned each time."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from mailement_common.sealing import new_key
from mailement_drip_scheduler.service import DripScheduler
from mailement_drip_scheduler.settings import SchedulerSettings
from mailement_mailer.service import Mailer
from mailement_mailer.settings import MailerSettings
from tests.support.database import Database

_BROKER = "amqp://127.0.0.1/"


def _scheduler(database: Database) -> DripScheduler:
    return DripScheduler(SchedulerSettings(database_url=database.url, amqp_url=_BROKER))


def _mailer(database: Database) -> Mailer:
    keys = SecretStr(new_key("sessions"))
    return Mailer(MailerSettings(database_url=database.url, amqp_url=_BROKER, secret_keys=keys))


@pytest.mark.parametrize("make", [_scheduler, _mailer], ids=["drip-scheduler", "mailer"])
async def test_a_plan_is_made_for_each_batch(database: Database, make: object) -> None:
    assert callable(make)
    pool = make(database)._pool
    await pool
    try:
        assert await pool.fetchval("SHOW plan_cache_mode") == "force_custom_plan"
    finally:
        pool.terminate()
