"""Mail without a way is told of when that begins, changes and ends, and not in between."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from mailement_common.ids import BrandId
from mailement_mailer.routes import NoRoute, WaitsFor
from mailement_mailer.standstills import Standstills
from mailement_newsletter.rules.senders import MailKind
from tests.support.mails import NOON

WAY = (BrandId(1), MailKind.DRIP)
PARKED = NoRoute(until=NOON, reason="the mail account is parked")
PAUSED = NoRoute(until=NOON, reason="every sender is paused", waits_for=WaitsFor.OPERATOR)
BROKEN = NoRoute(until=NOON, reason="the DKIM key 7 cannot be used", waits_for=WaitsFor.REPAIR)


def told(lines: Any) -> list[tuple[str, str, str | None]]:
    return [(line["log_level"], line["event"], line.get("reason")) for line in lines]


def test_each_reason_is_told_once_and_the_end_too() -> None:
    found = Standstills()
    with capture_logs() as lines:
        for way in (PARKED, PARKED, BROKEN, BROKEN):
            found.note({WAY: way}, NOON)
        found.note({}, NOON + timedelta(minutes=2))
    assert told(lines) == [
        ("info", "brand.mail_waits", PARKED.reason),
        ("warning", "brand.mail_waits", BROKEN.reason),
        ("info", "brand.mail_goes_on", None),
    ]


def test_what_is_broken_is_trouble_and_what_somebody_decided_is_none() -> None:
    found = Standstills()
    found.note({WAY: PAUSED}, NOON)
    assert found.trouble is None
    found.note({(BrandId(2), MailKind.DRIP): BROKEN}, NOON)
    assert found.trouble == "brand 2: the DKIM key 7 cannot be used"


def test_they_are_counted_by_what_they_wait_for() -> None:
    found = Standstills()
    found.note({WAY: PAUSED, (BrandId(2), MailKind.DRIP): BROKEN, (BrandId(3), MailKind.DRIP): BROKEN}, NOON)
    counts = {
        waits_for: REGISTRY.get_sample_value("mailement_mail_standstills", {"waits_for": waits_for})
        for waits_for in WaitsFor
    }
    assert counts == {WaitsFor.TIME: 0, WaitsFor.OPERATOR: 1, WaitsFor.REPAIR: 2}
