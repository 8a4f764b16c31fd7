"""Mail that waits because there is no way for it: told once, when that begins, changes and ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mailement_common.ids import BrandId
from mailement_common.logs import logger
from mailement_mailer.metrics import STANDSTILLS
from mailement_mailer.routes import NoRoute, Route, WaitsFor
from mailement_newsletter.rules.senders import MailKind

# Whatever waits is met again long before, in one of the next rounds.
_GONE_AFTER: Final = timedelta(minutes=1)

log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standstill:
    waits_for: WaitsFor
    reason: str
    met_at: datetime


class Standstills:
    """Of brands and kinds of mail that wait, as the rounds of claims meet them."""

    def __init__(self) -> None:
        self._found: dict[tuple[BrandId, MailKind], _Standstill] = {}

    @property
    def trouble(self) -> str | None:
        """The first thing that is broken and that nobody has decided on."""
        broken = (
            (brand, each) for (brand, _), each in self._found.items() if each.waits_for is WaitsFor.REPAIR
        )
        return next((f"brand {brand}: {each.reason}" for brand, each in broken), None)

    def note(self, ways: Mapping[tuple[BrandId, MailKind], Route | NoRoute], now: datetime) -> None:
        """`ways`: those of one round. Mail that has not been met for a while has gone some other way, or is gone."""
        for (brand, kind), way in ways.items():
            match way:
                case NoRoute():
                    self._stands(brand, kind, way, now)
                case Route():
                    self._moves(brand, kind)
        for brand, kind in [each for each, found in self._found.items() if found.met_at < now - _GONE_AFTER]:
            self._moves(brand, kind)
        counts = Counter(each.waits_for for each in self._found.values())
        for waits_for in WaitsFor:
            STANDSTILLS.labels(waits_for=waits_for).set(counts[waits_for])

    def _stands(self, brand: BrandId, kind: MailKind, way: NoRoute, now: datetime) -> None:
        before = self._found.get((brand, kind))
        self._found[brand, kind] = _Standstill(waits_for=way.waits_for, reason=way.reason, met_at=now)
        if before is None or before.reason != way.reason:
            tell = log.info if way.waits_for is WaitsFor.TIME else log.warning
            tell(
                "brand.mail_waits",
                brand_id=brand,
                kind=kind,
                waits_for=way.waits_for,
                until=way.until.isoformat(),
                reason=way.reason,
            )

    def _moves(self, brand: BrandId, kind: MailKind) -> None:
        if self._found.pop((brand, kind), None) is not None:
            log.info("brand.mail_goes_on", brand_id=brand, kind=kind)
