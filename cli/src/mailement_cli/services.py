"""Which services there are, and how each is made from the environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from mailement_api.service import Api
from mailement_api.settings import ApiSettings
from mailement_common.health import Health
from mailement_common.service import Service
from mailement_common.settings import ConfigurationFaults, ServiceSettings, load
from mailement_drip_scheduler.service import DripScheduler
from mailement_drip_scheduler.settings import SchedulerSettings
from mailement_mailer.service import Mailer
from mailement_mailer.settings import MailerSettings
from mailement_webhook_dispatcher.service import WebhookDispatcher
from mailement_webhook_dispatcher.settings import DispatcherSettings


class ServiceName(StrEnum):
    API = "api"
    DRIP_SCHEDULER = "drip-scheduler"
    WEBHOOK_DISPATCHER = "webhook-dispatcher"
    MAILER = "mailer"


Maker = Callable[[Any, Health], Service]

_MAKERS: Final[Mapping[ServiceName, tuple[type[ServiceSettings], Maker]]] = {
    ServiceName.API: (ApiSettings, Api),
    ServiceName.DRIP_SCHEDULER: (SchedulerSettings, lambda settings, _: DripScheduler(settings)),
    ServiceName.WEBHOOK_DISPATCHER: (DispatcherSettings, lambda settings, _: WebhookDispatcher(settings)),
    ServiceName.MAILER: (MailerSettings, lambda settings, _: Mailer(settings)),
}


def load_settings(
    names: Sequence[ServiceName], overrides: Mapping[str, Any] | None = None
) -> dict[ServiceName, ServiceSettings]:
    """The settings of each service. Raises ConfigurationFaults with the faults of all, each once."""
    found: dict[ServiceName, ServiceSettings] = {}
    faults: list[str] = []
    for name in names:
        try:
            found[name] = load(_MAKERS[name][0], overrides)
        except ConfigurationFaults as error:
            faults += [fault for fault in error.faults if fault not in faults]
    if faults:
        raise ConfigurationFaults(faults)
    return found


def make_services(settings: Mapping[ServiceName, ServiceSettings], health: Health) -> list[Service]:
    """Raises ConfigurationFaults, BadKeyRing."""
    return [_MAKERS[name][1](chosen, health) for name, chosen in settings.items()]
