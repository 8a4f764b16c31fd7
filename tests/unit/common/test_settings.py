from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from mailement_api.settings import ApiSettings
from mailement_common.settings import (
    BrokerSettings,
    ConfigurationFaults,
    DatabaseSettings,
    LogSettings,
    PublicSettings,
    SecretSettings,
    ServiceSettings,
    load,
)

DATABASE = "postgresql://ada@db:5432/letters"
BROKER = "amqp://ada@mq:5672/"


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "AMQP_URL", "MAILEMENT_DATABASE_URL", "MAILEMENT_AMQP_URL"):
        monkeypatch.delenv(name, raising=False)


def _faults(kind: type[ServiceSettings | SecretSettings]) -> list[str]:
    with pytest.raises(ConfigurationFaults) as refusal:
        load(kind)
    return refusal.value.faults


def test_a_setting_is_read_under_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILEMENT_LOG_LEVEL", "debug")
    monkeypatch.setenv("LOG_LEVEL", "error")

    assert load(LogSettings).log_level == "debug"


@pytest.mark.parametrize("prefix", ["", "MAILEMENT_"])
def test_the_urls_of_the_servers_go_by_two_names(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    monkeypatch.setenv(f"{prefix}DATABASE_URL", DATABASE)
    monkeypatch.setenv(f"{prefix}AMQP_URL", BROKER)

    settings = load(ServiceSettings)

    assert (settings.database_url, settings.amqp_url) == (DATABASE, BROKER)


def test_the_name_with_the_prefix_goes_before_the_bare_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://somebody/else")
    monkeypatch.setenv("MAILEMENT_DATABASE_URL", DATABASE)

    assert load(DatabaseSettings).database_url == DATABASE


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILEMENT_DATABASE_URL", "")
    monkeypatch.setenv("DATABASE_URL", DATABASE)
    monkeypatch.setenv("MAILEMENT_DATABASE_POOL_SIZE", "")

    assert load(DatabaseSettings).database_pool_size == 16


@pytest.mark.parametrize(
    "name", ["MAILEMENT_SECRET_KEYS", "MAILEMENT_DATABASE_URL", "DATABASE_URL", "MAILEMENT_HTTP_PORT"]
)
def test_any_setting_can_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    values = {
        "MAILEMENT_SECRET_KEYS": "k1:AAAA",
        "MAILEMENT_DATABASE_URL": DATABASE,
        "MAILEMENT_AMQP_URL": BROKER,
        "MAILEMENT_HTTP_PORT": "8181",
    }
    value = values.pop(name, None) or values.pop("MAILEMENT_DATABASE_URL")
    for other, its_value in values.items():
        monkeypatch.setenv(other, its_value)
    file = tmp_path / "secret"
    file.write_text(f"{value}\n")
    monkeypatch.setenv(f"{name}_FILE", str(file))

    settings = load(ApiSettings)

    found = {
        settings.secret_keys.get_secret_value(),
        settings.database_url,
        str(settings.http_port),
    }
    assert value in found


def test_a_variable_goes_before_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from the file")
    monkeypatch.setenv("MAILEMENT_SECRET_KEYS_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("MAILEMENT_SECRET_KEYS", "from the variable")

    assert load(SecretSettings).secret_keys == SecretStr("from the variable")


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xff"])
def test_files_that_cannot_be_read_are_named_with_every_other_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    for name in ("keys", "password"):
        if content is not None:
            (tmp_path / name).write_bytes(content)
    monkeypatch.setenv("MAILEMENT_SECRET_KEYS_FILE", str(tmp_path / "keys"))
    monkeypatch.setenv("MAILEMENT_DATABASE_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.setenv("MAILEMENT_HTTP_PORT", "eighty")

    named = [fault.partition(":")[0] for fault in _faults(ApiSettings)]

    assert sorted(named) == [
        "MAILEMENT_AMQP_URL",
        "MAILEMENT_DATABASE_PASSWORD_FILE",
        "MAILEMENT_DATABASE_URL",
        "MAILEMENT_HTTP_PORT",
        "MAILEMENT_SECRET_KEYS_FILE",
    ]


def test_every_fault_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "DATABASE_URL": "mysql://db/letters",
        "MAILEMENT_BUS_NAMESPACE": "Not A Name",
        "MAILEMENT_DATABASE_POOL_SIZE": "1",
        "MAILEMENT_DRAIN_SECONDS": "soon",
        "MAILEMENT_LOG_FORMAT": "xml",
        "MAILEMENT_LOG_LEVEL": "loud",
        "MAILEMENT_OPS_PORT": "65536",
        "MAILEMENT_PUBLIC_URL": "news.example.com",
        "MAILEMENT_EVENT_LOG_DAYS": "0",
    }.items():
        monkeypatch.setenv(name, value)

    faults = _faults(ApiSettings)

    assert {fault.partition(":")[0] for fault in faults} == {
        "DATABASE_URL",
        "MAILEMENT_AMQP_URL",
        "MAILEMENT_BUS_NAMESPACE",
        "MAILEMENT_DATABASE_POOL_SIZE",
        "MAILEMENT_DRAIN_SECONDS",
        "MAILEMENT_EVENT_LOG_DAYS",
        "MAILEMENT_LOG_FORMAT",
        "MAILEMENT_LOG_LEVEL",
        "MAILEMENT_OPS_PORT",
        "MAILEMENT_PUBLIC_URL",
        "MAILEMENT_SECRET_KEYS",
    }
    assert all(fault.partition(": ")[2] for fault in faults)


@pytest.mark.parametrize("url", ["postgresql://db:port/letters", "postgresql://db:70000/letters"])
def test_a_port_that_is_none_is_a_fault_of_its_url(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("AMQP_URL", url.replace("postgresql", "amqp"))

    assert {fault.partition(":")[0] for fault in _faults(ServiceSettings)} == {"DATABASE_URL", "AMQP_URL"}


def test_a_fault_does_not_show_the_value_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://ada:geheim@db/letters")
    monkeypatch.setenv("AMQP_URL", "amqp://ada:geheim@mq:port/")

    assert "geheim" not in "".join(_faults(ServiceSettings))


@pytest.mark.parametrize("password", ["pl@in", "p/a:s#s?w%o rd", "пароль", "100%41"])
@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "postgresql://ada@db:5432/letters?sslmode=require",
            "postgresql://ada:{}@db:5432/letters?sslmode=require",
        ),
        ("postgresql://ada:old@db/letters", "postgresql://ada:{}@db/letters"),
        ("postgresql://a%40b:old@[::1]:5432/letters", "postgresql://a%40b:{}@[::1]:5432/letters"),
    ],
)
def test_a_password_takes_the_place_of_the_one_in_the_url(password: str, url: str, expected: str) -> None:
    from urllib.parse import unquote

    dsn = DatabaseSettings(database_url=url, database_password=SecretStr(password)).database_dsn

    before, after = expected.split("{}")
    assert dsn.startswith(before)
    assert dsn.endswith(after)
    escaped = dsn[len(before) : -len(after)]
    assert unquote(escaped) == password
    assert not set(escaped) & set("/:@?# ")


def test_a_broker_s_password_is_replaced_too() -> None:
    settings = BrokerSettings(amqp_url="amqp://ada@mq:5672/%2Fletters", amqp_password=SecretStr("a/b"))

    assert settings.amqp_dsn == "amqp://ada:a%2Fb@mq:5672/%2Fletters"


def test_a_url_without_a_password_stays_as_it_is() -> None:
    assert DatabaseSettings(database_url=DATABASE).database_dsn == DATABASE


@pytest.mark.parametrize("url", ["https://news.example.com", "https://example.com/letters"])
def test_a_public_url_has_no_slash_at_its_end(url: str) -> None:
    assert load(PublicSettings, {"public_url": url}).public_url == url
    with pytest.raises(ConfigurationFaults):
        load(PublicSettings, {"public_url": f"{url}/"})


def test_settings_do_not_show_their_secrets() -> None:
    settings = DatabaseSettings(database_url=DATABASE, database_password=SecretStr("geheim"))

    assert "geheim" not in repr(settings)
