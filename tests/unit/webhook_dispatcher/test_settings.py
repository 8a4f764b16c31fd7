"""The dispatcher's own settings."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from mailement_common.sealing import new_key
from mailement_common.settings import ConfigurationFaults, load
from mailement_webhook_dispatcher.settings import DispatcherSettings

_REQUIRED = {
    "MAILEMENT_DATABASE_URL": "postgresql://db.example/mailement",
    "MAILEMENT_AMQP_URL": "amqp://broker.example/",
    "MAILEMENT_SECRET_KEYS": new_key("now"),
}


def _load(monkeypatch: pytest.MonkeyPatch, **more: str) -> DispatcherSettings:
    for name, value in {**_REQUIRED, **more}.items():
        monkeypatch.setenv(name, value)
    return load(DispatcherSettings)


def test_no_private_network_is_allowed_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _load(monkeypatch)

    assert settings.webhook_allow_cidrs == ()
    assert (settings.webhook_concurrency, settings.webhook_endpoint_concurrency) == (100, 10)


def test_networks_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _load(monkeypatch, MAILEMENT_WEBHOOK_ALLOW_CIDRS="127.0.0.0/8, ::1,10.1.0.0/16")

    assert settings.webhook_allow_cidrs == (
        ip_network("127.0.0.0/8"),
        ip_network("::1/128"),
        ip_network("10.1.0.0/16"),
    )


def test_what_is_no_network_is_a_fault_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationFaults, match="MAILEMENT_WEBHOOK_ALLOW_CIDRS"):
        _load(monkeypatch, MAILEMENT_WEBHOOK_ALLOW_CIDRS="127.0.0.1/8")


def test_what_was_sent_is_not_kept_longer_than_that_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationFaults, match="MAILEMENT_WEBHOOK_PAYLOAD_DAYS"):
        _load(monkeypatch, MAILEMENT_WEBHOOK_LEDGER_DAYS="30", MAILEMENT_WEBHOOK_PAYLOAD_DAYS="31")


@pytest.mark.parametrize(
    ("variable", "too_little"),
    [
        ("MAILEMENT_WEBHOOK_LEDGER_DAYS", "29"),
        ("MAILEMENT_WEBHOOK_PAYLOAD_DAYS", "13"),
        ("MAILEMENT_WEBHOOK_BRAND_CONCURRENCY", "0"),
    ],
)
def test_bounds_are_kept(monkeypatch: pytest.MonkeyPatch, variable: str, too_little: str) -> None:
    with pytest.raises(ConfigurationFaults, match=variable):
        _load(monkeypatch, **{variable: too_little})
